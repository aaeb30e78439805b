variable "prefix" { type = string }

resource "aws_dynamodb_table" "vwr_counters" {
  name         = "${var.prefix}-vwr-counters"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "eventId"
  attribute {
    name = "eventId"
    type = "S"
  }
}

resource "aws_dynamodb_table" "vwr_positions" {
  name         = "${var.prefix}-vwr-positions"
  billing_mode = "PAY_PER_REQUEST"
  hash_key     = "eventId"
  range_key    = "requestId"
  attribute {
    name = "eventId"
    type = "S"
  }
  attribute {
    name = "requestId"
    type = "S"
  }
  attribute {
    name = "position"
    type = "N"
  }
  global_secondary_index {
    name            = "eventId-position-index"
    hash_key        = "eventId"
    range_key       = "position"
    projection_type = "ALL"
  }
  ttl {
    attribute_name = "ttl"
    enabled        = true
  }
}
