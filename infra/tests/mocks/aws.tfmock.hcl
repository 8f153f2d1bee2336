# What AWS would answer: an ARN for each thing, so that a policy shows which thing it is about.

mock_data "aws_caller_identity" {
  defaults = {
    account_id = "111122223333"
    arn        = "arn:aws:iam::111122223333:user/admin"
  }
}

# No value stored yet. The provider answers null for that; a mock cannot.
mock_data "aws_secretsmanager_secret_versions" {
  defaults = {
    versions = []
  }
}

mock_resource "aws_kms_key" {
  defaults = {
    arn    = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001"
    key_id = "00000000-0000-0000-0000-000000000001"
  }
}

mock_resource "aws_iam_role" {
  defaults = {
    arn = "arn:aws:iam::111122223333:role/role"
  }
}

mock_resource "aws_lambda_invocation" {
  defaults = {
    result = "{\"desired\": {}, \"found\": null, \"done\": {\"outcome\": \"awaiting_consent\"}}"
  }
}

mock_resource "aws_sns_topic" {
  defaults = {
    arn = "arn:aws:sns:eu-west-1:111122223333:cosell-staging-alarms"
  }
}

mock_resource "aws_cloudwatch_metric_alarm" {
  defaults = {
    arn = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:an-alarm"
  }
}

mock_resource "aws_apigatewayv2_api" {
  defaults = {
    id            = "api1234567"
    api_endpoint  = "https://api1234567.execute-api.eu-west-1.amazonaws.com"
    execution_arn = "arn:aws:execute-api:eu-west-1:111122223333:api1234567"
  }
}

mock_resource "aws_lambda_function_url" {
  defaults = {
    function_url = "https://url1234567.lambda-url.eu-west-1.on.aws/"
  }
}

mock_resource "aws_scheduler_schedule_group" {
  defaults = {
    arn = "arn:aws:scheduler:eu-west-1:111122223333:schedule-group/cosell-staging"
  }
}

override_resource {
  target = aws_iam_role.schedules
  values = {
    arn = "arn:aws:iam::111122223333:role/cosell-staging-eu-west-1-schedules"
    id  = "cosell-staging-eu-west-1-schedules"
  }
}

# Whatever log group is not named below.
mock_resource "aws_cloudwatch_log_group" {
  defaults = {
    arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/vendedlogs/cosell-staging-access"
  }
}

override_resource {
  target = aws_sqs_queue.hints
  values = {
    arn = "arn:aws:sqs:eu-west-1:111122223333:cosell-staging-hints.fifo"
    id  = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-hints.fifo"
    url = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-hints.fifo"
  }
}

override_resource {
  target = aws_sqs_queue.dead_letters
  values = {
    arn = "arn:aws:sqs:eu-west-1:111122223333:cosell-staging-dead-letters.fifo"
    id  = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-dead-letters.fifo"
    url = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-dead-letters.fifo"
  }
}

override_resource {
  target = aws_sqs_queue.missed_runs
  values = {
    arn = "arn:aws:sqs:eu-west-1:111122223333:cosell-staging-missed-runs"
    id  = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-missed-runs"
    url = "https://sqs.eu-west-1.amazonaws.com/111122223333/cosell-staging-missed-runs"
  }
}

override_resource {
  target = aws_dynamodb_table.links
  values = {
    arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-links"
  }
}

override_resource {
  target = aws_dynamodb_table.audit
  values = {
    arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/cosell-staging-audit"
  }
}

override_resource {
  target = aws_secretsmanager_secret.partner_center
  values = {
    arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf"
    id  = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-partner-center-1-AbCdEf"
  }
}

override_resource {
  target = aws_secretsmanager_secret.dataverse
  values = {
    arn = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-dataverse-1-AbCdEf"
    id  = "arn:aws:secretsmanager:eu-west-1:111122223333:secret:cosell-staging-dataverse-1-AbCdEf"
  }
}

override_resource {
  target = module.webhook.aws_lambda_function.this
  values = {
    arn        = "arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-webhook"
    invoke_arn = "arn:aws:apigateway:eu-west-1:lambda:path/2015-03-31/functions/arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-webhook/invocations"
  }
}

override_resource {
  target = module.sync.aws_lambda_function.this
  values = {
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-sync"
  }
}

override_resource {
  target = module.registration.aws_lambda_function.this
  values = {
    arn = "arn:aws:lambda:eu-west-1:111122223333:function:cosell-staging-registration"
  }
}

override_resource {
  target = module.webhook.aws_cloudwatch_log_group.this
  values = {
    arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-webhook"
  }
}

override_resource {
  target = module.sync.aws_cloudwatch_log_group.this
  values = {
    arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-sync"
  }
}

override_resource {
  target = module.registration.aws_cloudwatch_log_group.this
  values = {
    arn = "arn:aws:logs:eu-west-1:111122223333:log-group:/aws/lambda/cosell-staging-registration"
  }
}
