variable "prefix" { type = string }
variable "vpc_id" { type = string }
variable "subnet_ids" { type = list(string) }
variable "password" { type = string }
variable "monitoring_role_arn" { type = string }

resource "aws_security_group" "rds" {
  name        = "${var.prefix}-rds"
  description = "Primary database of ${var.prefix}"
  vpc_id      = var.vpc_id
}

resource "aws_db_subnet_group" "main" {
  name       = "${var.prefix}-db"
  subnet_ids = var.subnet_ids
}

resource "aws_db_parameter_group" "postgres" {
  name   = "${var.prefix}-postgres"
  family = "postgres16"
}

resource "aws_db_instance" "main" {
  identifier                            = "${var.prefix}-postgres"
  engine                                = "postgres"
  engine_version                        = "16.4"
  instance_class                        = "db.t3.medium"
  allocated_storage                     = 20
  max_allocated_storage                 = 100
  storage_type                          = "gp3"
  storage_encrypted                     = true
  db_name                               = "ticket_db"
  username                              = "urr_admin"
  password                              = var.password
  db_subnet_group_name                  = aws_db_subnet_group.main.name
  vpc_security_group_ids                = [aws_security_group.rds.id]
  parameter_group_name                  = aws_db_parameter_group.postgres.name
  backup_retention_period               = 7
  backup_window                         = "03:00-04:00"
  maintenance_window                    = "mon:04:00-mon:05:00"
  performance_insights_enabled          = true
  performance_insights_retention_period = 7
  monitoring_interval                   = 60
  monitoring_role_arn                   = var.monitoring_role_arn
  enabled_cloudwatch_logs_exports       = ["postgresql", "upgrade"]
  skip_final_snapshot                   = true
}

output "address" { value = aws_db_instance.main.address }
