# What comes before what. A run plans one thing with all that it waits for, and nothing else (`target`): what it does not
# wait for is not there, and the assertion about it fails.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  environment       = "staging"
  region            = "eu-west-1"
  partner_tenant_id = "11111111-2222-3333-4444-555555555555"
  dataverse_url     = "https://contoso.crm4.dynamics.com"
  zip_folder        = "tests/zips"
}

run "the_place_is_compared_before_the_name_is_taken" {
  plan_options {
    target = [aws_ssm_parameter.owner]
  }
  assert {
    condition     = terraform_data.home.output == { account = "111122223333", environment = "staging", prefix = "cosell", region = "eu-west-1" }
    error_message = "The name could be taken in a region or account that is not this state's."
  }
}

run "who_came_first_stays" {
  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "111122223333", arn = "arn:aws:iam::111122223333:user/second" }
  }
  assert {
    condition     = startswith(nonsensitive(aws_ssm_parameter.owner.value), "deployed first by arn:aws:iam::111122223333:user/admin at ")
    error_message = "The mark does not tell who deployed first."
  }
}

run "another_region_is_another_environment" {
  command = plan

  variables {
    region = "eu-central-1"
  }
  expect_failures = [
    terraform_data.home,
  ]
}

run "another_name_is_another_environment" {
  command = plan

  variables {
    environment = "production"
  }
  expect_failures = [
    terraform_data.home,
  ]
}

run "another_prefix_is_another_environment" {
  command = plan

  variables {
    prefix = "acme"
  }
  expect_failures = [
    terraform_data.home,
  ]
}

run "another_account_is_another_environment" {
  command = plan

  override_data {
    target = data.aws_caller_identity.current
    values = { account_id = "444455556666", arn = "arn:aws:iam::444455556666:user/admin" }
  }
  expect_failures = [
    terraform_data.home,
  ]
}

run "the_name_is_taken_before_anything_bears_it" {
  command   = plan
  state_key = "the_name_is_taken_before_anything_bears_it"

  plan_options {
    target = [aws_kms_alias.this]
  }
  assert {
    condition     = aws_ssm_parameter.owner.name == "/cosell/staging/owner"
    error_message = "A name of this environment is used before it is known to be ours."
  }
  assert {
    # All names begin with the one in owner.tf, which is read from the mark.
    condition = toset([
      for page in setunion(fileset(".", "*.tf"), fileset(".", "modules/**/*.tf")) : page if strcontains(file(page), "var.prefix")
    ]) == toset(["owner.tf", "variables.tf"]) && startswith(aws_kms_alias.this[0].name, "alias/cosell-staging")
    error_message = "A name is made without the mark."
  }
}

run "schedules_wait_for_their_rights" {
  command   = plan
  state_key = "schedules_wait_for_their_rights"

  plan_options {
    target = [aws_scheduler_schedule.this]
  }
  assert {
    condition     = aws_iam_role_policy.schedules.name == "own"
    error_message = "A schedule could run before its role may start anything."
  }
}

run "everything_receives_before_microsoft_is_told_to_post" {
  state_key = "everything_receives_before_microsoft_is_told_to_post"

  plan_options {
    target = [aws_lambda_invocation.registration]
  }
  variables {
    notification_mail = "crm-team@example.com"
  }
  assert {
    condition = (
      aws_apigatewayv2_stage.this[0].name == "$default"
      && aws_apigatewayv2_route.webhook[0].route_key == "POST /webhook"
      && aws_lambda_permission.api[0].action == "lambda:InvokeFunction"
      && aws_lambda_event_source_mapping.hints.batch_size == 10
      && module.webhook.name == "cosell-staging-webhook"
    )
    error_message = "Posts could come before there is a way from the front door to sync."
  }
  assert {
    condition = (
      length(aws_cloudwatch_metric_alarm.this) > 0
      && length(aws_scheduler_schedule.this) == 4
      && length(aws_sqs_queue_policy.tls_only) == 3
      && length(aws_sns_topic_subscription.mail) == 1
      && aws_sns_topic_policy.alarms.arn != ""
      && aws_sqs_queue_redrive_allow_policy.dead_letters.queue_url != ""
      && aws_cloudwatch_dashboard.this.dashboard_name != ""
      && length(aws_kms_alias.this) == 1
    )
    error_message = "Posts could come before their failures are told and kept."
  }
}

run "a_function_url_receives_before_microsoft_is_told_to_post" {
  command   = plan
  state_key = "a_function_url_receives_before_microsoft_is_told_to_post"

  plan_options {
    target = [aws_lambda_invocation.registration]
  }
  variables {
    front_door = "function-url"
  }
  assert {
    condition = (
      aws_lambda_permission.function_url[0].action == "lambda:InvokeFunctionUrl"
      && aws_cloudformation_stack.function_url_permission[0].name == "cosell-staging-function-url-permission"
    )
    error_message = "Posts could come before both permissions are there."
  }
}
