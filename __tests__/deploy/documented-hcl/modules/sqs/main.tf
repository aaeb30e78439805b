variable "prefix" { type = string }

resource "aws_sqs_queue" "ticket_events" {
  name                        = "${var.prefix}-ticket-events.fifo"
  fifo_queue                  = true
  content_based_deduplication = true
  deduplication_scope         = "messageGroup"
  fifo_throughput_limit       = "perMessageGroupId"
  message_retention_seconds   = 345600
  visibility_timeout_seconds  = 300
  receive_wait_time_seconds   = 10
  sqs_managed_sse_enabled     = true
  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.ticket_events_dlq.arn
    maxReceiveCount     = 3
  })
}

resource "aws_sqs_queue" "ticket_events_dlq" {
  name                      = "${var.prefix}-ticket-events-dlq.fifo"
  fifo_queue                = true
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
}
