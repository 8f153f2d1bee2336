# The front door: an HTTP API with one route, or a function URL.

locals {
  has_api = var.front_door == "http-api"

  # API Gateway writes access logs as a vended service, for which AWS asks for this beginning: its permission is kept in one
  # policy per account whose length is limited, and groups under it take no room there.
  access_log = "/aws/vendedlogs/${local.name}-access"

  api_id = local.has_api ? aws_apigatewayv2_api.this[0].id : ""
  # The address AWS made.
  made_url = local.has_api ? "${aws_apigatewayv2_api.this[0].api_endpoint}/webhook" : "${aws_lambda_function_url.webhook[0].function_url}webhook"

  # The address as it is registered. The owner mark tells this deployment's registration from another's.
  webhook_url = "${var.webhook_url == null ? local.made_url : replace(coalesce(var.webhook_url, "-"), "{api}", local.api_id)}?owner=${local.mark}"
}

# --- HTTP API

resource "aws_apigatewayv2_api" "this" {
  count = local.has_api ? 1 : 0

  name          = local.name
  description   = "Posts of Partner Center to ${local.name}"
  protocol_type = "HTTP"
}

resource "aws_apigatewayv2_integration" "webhook" {
  count = local.has_api ? 1 : 0

  api_id                 = aws_apigatewayv2_api.this[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = module.webhook.invoke_arn
  payload_format_version = "2.0" # Default: 1.0, which the function does not read.
}

# The only route: whatever else is asked for, API Gateway answers 404 itself.
resource "aws_apigatewayv2_route" "webhook" {
  #checkov:skip=CKV_AWS_309:Microsoft signs its posts and brings no AWS credentials; the function verifies the signature
  count = local.has_api ? 1 : 0

  api_id    = aws_apigatewayv2_api.this[0].id
  route_key = "POST /webhook"
  target    = "integrations/${aws_apigatewayv2_integration.webhook[0].id}"
}

resource "aws_cloudwatch_log_group" "access" {
  count = local.has_api ? 1 : 0

  name              = local.access_log
  retention_in_days = var.log_retention_days # Default: for ever.
  kms_key_id        = local.key_arn          # Default: CloudWatch's own key.
}

resource "aws_apigatewayv2_stage" "this" {
  count = local.has_api ? 1 : 0

  api_id      = aws_apigatewayv2_api.this[0].id
  name        = "$default" # The stage that adds nothing to the path.
  auto_deploy = true       # Default: false; there is one route, and it is deployed with everything else.

  # Default: the account's whole quota, 10,000 a second.
  default_route_settings {
    throttling_burst_limit = var.webhook_burst
    throttling_rate_limit  = var.webhook_rate
  }

  # Default: none. Who asked, when, with what result; no header and no body.
  access_log_settings {
    destination_arn = aws_cloudwatch_log_group.access[0].arn
    format = jsonencode({
      at        = "$context.requestTime"
      bytes     = "$context.responseLength"
      error     = "$context.error.message"
      ip        = "$context.identity.sourceIp"
      latency   = "$context.responseLatency"
      method    = "$context.httpMethod"
      path      = "$context.path"
      request   = "$context.requestId"
      status    = "$context.status"
      userAgent = "$context.identity.userAgent"
    })
  }
}

resource "aws_lambda_permission" "api" {
  count = local.has_api ? 1 : 0

  statement_id  = "PostsThroughTheApi"
  action        = "lambda:InvokeFunction"
  function_name = module.webhook.name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.this[0].execution_arn}/$default/POST/webhook"
}

# --- Function URL

resource "aws_lambda_function_url" "webhook" {
  #checkov:skip=CKV_AWS_258:Microsoft signs its posts and brings no AWS credentials; the function verifies the signature
  count = local.has_api ? 0 : 1

  function_name      = module.webhook.name
  authorization_type = "NONE"
}

# Since October 2025 a function URL needs both permissions: to invoke the URL, and to invoke the function by way of it.
# https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html
resource "aws_lambda_permission" "function_url" {
  #checkov:skip=CKV_AWS_301:Microsoft posts without AWS credentials; the function verifies the signature
  #checkov:skip=CKV_AWS_364:there is no principal to name; the kind of access is limited to the URL
  count = local.has_api ? 0 : 1

  statement_id           = "PostsToTheUrl"
  action                 = "lambda:InvokeFunctionUrl"
  function_name          = module.webhook.name
  principal              = "*"
  function_url_auth_type = "NONE"
}

# The second permission has a condition that the provider's resource knows only since 6.29. Without the condition any AWS
# account could invoke the function directly. CloudFormation knows it, whatever the provider's version.
# https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-resource-lambda-permission.html
resource "aws_cloudformation_stack" "function_url_permission" {
  #checkov:skip=CKV_AWS_124:one permission, made and removed by the apply that waits for it; nobody needs to be told
  count = local.has_api ? 0 : 1

  name = "${local.name}-function-url-permission"
  template_body = jsonencode({
    Description = "Lets posts to the function URL of ${module.webhook.name} reach the function"
    Resources = {
      Permission = {
        Type = "AWS::Lambda::Permission"
        Properties = {
          Action                = "lambda:InvokeFunction"
          FunctionName          = module.webhook.name
          InvokedViaFunctionUrl = true
          Principal             = "*"
        }
      }
    }
  })

  # The URL first: AWS checks the one against the other.
  depends_on = [aws_lambda_function_url.webhook]
}
