# What comes before what. Of two runs with one state the first makes one thing with all that it waits for and nothing else
# (`target`), and the second makes the rest; an id tells which of the two made a thing.

mock_provider "aws" {
  source = "./tests/mocks"
}

mock_provider "aws" {
  alias  = "first"
  source = "./tests/mocks"

  mock_resource "aws_apigatewayv2_route" {
    defaults = { id = "first" }
  }
  mock_resource "aws_apigatewayv2_stage" {
    defaults = { id = "first" }
  }
  mock_resource "aws_cloudformation_stack" {
    defaults = { id = "first" }
  }
  mock_resource "aws_cloudwatch_dashboard" {
    defaults = { id = "first" }
  }
  mock_resource "aws_iam_role_policy" {
    defaults = { id = "first" }
  }
  mock_resource "aws_kms_alias" {
    defaults = { id = "first" }
  }
  mock_resource "aws_lambda_event_source_mapping" {
    defaults = { id = "first" }
  }
  mock_resource "aws_lambda_permission" {
    defaults = { id = "first" }
  }
  mock_resource "aws_scheduler_schedule" {
    defaults = { id = "first" }
  }
  mock_resource "aws_sns_topic_policy" {
    defaults = { id = "first" }
  }
  mock_resource "aws_sns_topic_subscription" {
    defaults = { id = "first" }
  }
  mock_resource "aws_sqs_queue_policy" {
    defaults = { id = "first" }
  }
  mock_resource "aws_sqs_queue_redrive_allow_policy" {
    defaults = { id = "first" }
  }
  mock_resource "aws_ssm_parameter" {
    defaults = { id = "first" }
  }
}

variables {
  environment       = "staging"
  region            = "eu-west-1"
  partner_tenant_id = "11111111-2222-3333-4444-555555555555"
  dataverse_url     = "https://contoso.crm4.dynamics.com"
  zip_folder        = "tests/zips"
}

run "the_mark_and_what_it_waits_for" {
  plan_options {
    target = [aws_ssm_parameter.owner]
  }
}

run "another_region_is_another_environment" {
  # Known already, though only the mark and what it waits for is made.
  command = plan

  variables {
    region = "eu-central-1"
  }
  expect_failures = [
    terraform_data.home,
  ]
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

run "a_key_and_what_it_waits_for" {
  state_key = "the_name_is_taken_before_anything_bears_it"
  providers = { aws = aws.first }

  plan_options {
    target = [aws_kms_alias.this]
  }
}

run "the_name_is_taken_before_anything_bears_it" {
  state_key = "the_name_is_taken_before_anything_bears_it"

  assert {
    condition     = aws_ssm_parameter.owner.id == "first"
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

run "schedules_and_what_they_wait_for" {
  state_key = "schedules_wait_for_their_rights"
  providers = { aws = aws.first }

  plan_options {
    target = [aws_scheduler_schedule.this]
  }
}

run "schedules_wait_for_their_rights" {
  state_key = "schedules_wait_for_their_rights"

  assert {
    condition     = aws_iam_role_policy.schedules.id == "first"
    error_message = "A schedule could run before its role may start anything."
  }
}

run "a_registration_and_what_it_waits_for" {
  state_key = "everything_receives_before_microsoft_is_told_to_post"
  providers = { aws = aws.first }

  plan_options {
    target = [aws_lambda_invocation.registration]
  }
  variables {
    notification_mail = "crm-team@example.com"
  }
}

run "everything_receives_before_microsoft_is_told_to_post" {
  state_key = "everything_receives_before_microsoft_is_told_to_post"

  variables {
    notification_mail = "crm-team@example.com"
  }
  assert {
    condition = alltrue([
      for thing in [aws_apigatewayv2_stage.this[0], aws_apigatewayv2_route.webhook[0], aws_lambda_permission.api[0], aws_lambda_event_source_mapping.hints] :
      thing.id == "first"
    ])
    error_message = "Posts could come before there is a way from the front door to sync."
  }
  assert {
    condition = alltrue([
      for id in concat(
        [for schedule in aws_scheduler_schedule.this : schedule.id],
        [for policy in aws_sqs_queue_policy.tls_only : policy.id],
        [aws_sqs_queue_redrive_allow_policy.dead_letters.id, aws_kms_alias.this[0].id],
        [aws_sns_topic_policy.alarms.id, aws_sns_topic_subscription.mail[0].id, aws_cloudwatch_dashboard.this.id],
      ) :
      id == "first"
    ])
    error_message = "Posts could come before what fails is kept and told."
  }
}

run "a_function_url_and_what_it_waits_for" {
  state_key = "a_function_url_receives_before_microsoft_is_told_to_post"
  providers = { aws = aws.first }

  plan_options {
    target = [aws_lambda_invocation.registration]
  }
  variables {
    front_door = "function-url"
  }
}

run "a_function_url_receives_before_microsoft_is_told_to_post" {
  state_key = "a_function_url_receives_before_microsoft_is_told_to_post"

  variables {
    front_door = "function-url"
  }
  assert {
    condition     = aws_lambda_permission.function_url[0].id == "first" && aws_cloudformation_stack.function_url_permission[0].id == "first"
    error_message = "Posts could come before both permissions are there."
  }
}
