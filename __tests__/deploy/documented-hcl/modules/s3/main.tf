variable "prefix" { type = string }
variable "environment" { type = string }

resource "aws_s3_bucket" "frontend" {
  bucket = "${var.prefix}-frontend-${var.environment}"
}

resource "aws_s3_bucket_versioning" "frontend" {
  bucket = aws_s3_bucket.frontend.id
  versioning_configuration { status = "Enabled" }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "frontend" {
  bucket = aws_s3_bucket.frontend.id
  rule {
    apply_server_side_encryption_by_default { sse_algorithm = "AES256" }
    bucket_key_enabled = true
  }
}

resource "aws_s3_bucket" "logs" {
  bucket = "${var.prefix}-logs-${var.environment}"
}
