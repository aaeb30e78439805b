variable "prefix" { type = string }
variable "rds_endpoint" { type = string }

resource "random_password" "rds" {
  length           = 32
  special          = true
  override_special = "!#$%&*()-_=+[]{}<>:?"
}

resource "aws_secretsmanager_secret" "rds_credentials" {
  name = "${var.prefix}/rds-credentials"
}

resource "aws_secretsmanager_secret_version" "rds_credentials" {
  secret_id     = aws_secretsmanager_secret.rds_credentials.id
  secret_string = jsonencode({ username = "urr_admin", password = random_password.rds.result, host = var.rds_endpoint })
}

resource "random_password" "redis_auth" {
  length  = 32
  special = false
}

resource "aws_secretsmanager_secret" "redis_auth_token" {
  name = "${var.prefix}/redis-auth-token"
}

resource "aws_secretsmanager_secret_version" "redis_auth_token" {
  secret_id     = aws_secretsmanager_secret.redis_auth_token.id
  secret_string = jsonencode({ token = random_password.redis_auth.result })
}

output "rds_password" { value = random_password.rds.result }
output "redis_auth_token" { value = random_password.redis_auth.result }
