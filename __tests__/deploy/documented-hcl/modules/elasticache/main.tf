variable "prefix" { type = string }
variable "vpc_id" { type = string }
variable "subnet_ids" { type = list(string) }
variable "auth_token" { type = string }

resource "aws_security_group" "redis" {
  name   = "${var.prefix}-redis-sg"
  vpc_id = var.vpc_id
}

resource "aws_elasticache_subnet_group" "main" {
  name       = "${var.prefix}-cache"
  subnet_ids = var.subnet_ids
}

resource "aws_elasticache_parameter_group" "main" {
  name        = "${var.prefix}-redis7"
  description = "Redis settings of ${var.prefix}"
  family      = "redis7"
  parameter {
    name  = "timeout"
    value = "300"
  }
  parameter {
    name  = "maxmemory-policy"
    value = "allkeys-lru"
  }
}

resource "aws_elasticache_replication_group" "redis" {
  replication_group_id       = "${var.prefix}-redis"
  description                = "Redis of ${var.prefix}"
  engine                     = "redis"
  engine_version             = "7.1"
  node_type                  = "cache.t4g.small"
  num_cache_clusters         = 1
  automatic_failover_enabled = false
  parameter_group_name       = aws_elasticache_parameter_group.main.name
  subnet_group_name          = aws_elasticache_subnet_group.main.name
  security_group_ids         = [aws_security_group.redis.id]
  at_rest_encryption_enabled = true
  transit_encryption_enabled = true
  auth_token                 = var.auth_token
  snapshot_retention_limit   = 5
}
