# One function: its role, its log, its limits. What it may do comes in as statements and is nowhere else.

locals {
  log_group = "/aws/lambda/${var.name}"
}

resource "aws_cloudwatch_log_group" "this" {
  name              = local.log_group
  retention_in_days = var.log_retention_days # Default: for ever.
  kms_key_id        = var.kms_key_arn        # Default: CloudWatch's own key.
}

resource "aws_iam_role" "this" {
  name        = var.role_name
  description = "What ${var.name} may do"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "LambdaRunsAs"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

locals {
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [{
        Sid    = "WriteOwnLog"
        Effect = "Allow"
        Action = ["logs:CreateLogStream", "logs:PutLogEvents"]
        # The only wildcard: Lambda names the streams, and a group's ARN without it stands for no stream. It ends inside
        # this one group.
        Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
      }],
      # An absent condition must be absent, not null: IAM refuses the word.
      [for s in var.statements : { for key, value in s : key => value if value != null }],
    )
  })
}

resource "aws_iam_role_policy" "this" {
  name   = "own"
  role   = aws_iam_role.this.id
  policy = local.policy
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_50:X-Ray's actions know no resource but "*"; each invocation leaves a log line and a metric record
  #checkov:skip=CKV_AWS_115:set, unless the account is too new to reserve any (reserve_concurrency)
  #checkov:skip=CKV_AWS_116:messages that fail go to the queue's dead letters, runs that cannot be delivered to the schedules'
  #checkov:skip=CKV_AWS_117:it talks to AWS and Microsoft over TLS only; a VPC would add a NAT gateway's cost and open nothing less
  #checkov:skip=CKV_AWS_272:zips are built and deployed by the same person from the same commit; a signing profile would be theirs too
  function_name = var.name
  description   = var.description
  role          = aws_iam_role.this.arn

  filename         = var.zip
  source_code_hash = fileexists(var.zip) ? filebase64sha256(var.zip) : null
  runtime          = "provided.al2023"
  handler          = "bootstrap"
  architectures    = [var.architecture] # Default: x86_64.

  memory_size                    = var.memory_mb       # Default: 128.
  timeout                        = var.timeout_seconds # Default: 3.
  reserved_concurrent_executions = var.concurrency     # Default: -1.
  kms_key_arn                    = var.kms_key_arn     # Default: Lambda's own key.

  environment {
    variables = var.environment
  }

  lifecycle {
    precondition {
      condition     = fileexists(var.zip)
      error_message = "${var.zip} does not exist; `make build` makes it."
    }
  }

  # The log group first: else Lambda would make one that is kept for ever. The policy too: else the first run has no rights.
  depends_on = [aws_cloudwatch_log_group.this, aws_iam_role_policy.this]
}

# Schedules invoke asynchronously. Lambda itself would try a failed run twice more and hold a throttled one for six hours;
# by then the schedule has sent many others.
resource "aws_lambda_function_event_invoke_config" "this" {
  function_name                = aws_lambda_function.this.function_name
  maximum_retry_attempts       = 1   # Default: 2.
  maximum_event_age_in_seconds = 300 # Default: 21,600.
}
