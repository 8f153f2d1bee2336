# One function by itself: what only the module's own resources show. How the three are called is in the other pages.

mock_provider "aws" {
  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::111122223333:role/cosell-staging-eu-west-1-sync"
      id  = "cosell-staging-eu-west-1-sync"
    }
  }
}

# What is made with this one can be told from what is made later.
mock_provider "aws" {
  alias = "first"
  mock_resource "aws_iam_role" {
    defaults = {
      arn = "arn:aws:iam::111122223333:role/cosell-staging-eu-west-1-sync"
      id  = "cosell-staging-eu-west-1-sync"
    }
  }
  mock_resource "aws_iam_role_policy" {
    defaults = { id = "first" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { id = "first" }
  }
}

variables {
  name               = "cosell-staging-sync"
  role_name          = "cosell-staging-eu-west-1-sync"
  description        = "Finds what changed"
  zip                = "tests/zips/sync.zip"
  architecture       = "x86_64"
  memory_mb          = 256
  timeout_seconds    = 120
  concurrency        = 3
  environment        = { LOG_LEVEL = "info" }
  kms_key_arn        = "arn:aws:kms:eu-west-1:111122223333:key/00000000-0000-0000-0000-000000000001"
  log_retention_days = 30
  statements         = [{ Sid = "SendHints", Action = ["sqs:SendMessage"], Resource = ["arn:aws:sqs:eu-west-1:111122223333:hints"] }]
}

run "a_function_acts_as_its_own_role" {
  module {
    source = "./modules/function"
  }

  assert {
    condition     = aws_iam_role.this.name == "cosell-staging-eu-west-1-sync" && aws_lambda_function.this.role == aws_iam_role.this.arn
    error_message = "The function acts as another role."
  }
  assert {
    condition     = aws_iam_role_policy.this.role == aws_iam_role.this.id
    error_message = "What the function may do is said of another role."
  }
}

run "its_settings_are_encrypted_and_its_program_is_followed" {
  module {
    source = "./modules/function"
  }

  assert {
    condition     = aws_lambda_function.this.kms_key_arn == var.kms_key_arn
    error_message = "The function's settings are not encrypted with our key."
  }
  assert {
    condition     = aws_lambda_function.this.filename == var.zip && aws_lambda_function.this.source_code_hash == filebase64sha256(var.zip) && output.code_hash == filebase64sha256(var.zip)
    error_message = "Another zip is deployed, or a new program would not be noticed."
  }
  assert {
    condition     = aws_lambda_function.this.architectures == tolist(["x86_64"]) && aws_lambda_function.this.reserved_concurrent_executions == 3
    error_message = "The function runs on another processor than its zip was built for, or more often at a time than asked."
  }
}

run "a_function_and_what_it_waits_for" {
  state_key = "before_the_first_run"
  providers = { aws = aws.first }

  module {
    source = "./modules/function"
  }
  plan_options {
    target = [aws_lambda_function.this]
  }
}

run "rights_and_log_are_there_before_the_first_run" {
  state_key = "before_the_first_run"

  module {
    source = "./modules/function"
  }
  assert {
    condition     = aws_iam_role_policy.this.id == "first" && aws_cloudwatch_log_group.this.id == "first"
    error_message = "The function does not wait for its rights, or Lambda makes a log that is kept for ever."
  }
}

run "what_no_function_may_have_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }
  variables {
    role_name          = "cosell-staging-eu-west-1-sync-whose-name-is-longer-than-iam-takes" # 66 characters.
    log_retention_days = 0                                                                   # Kept for ever.
    statements         = [{ Sid = "SendHints", Action = ["sqs:*"], Resource = ["arn:aws:sqs:eu-west-1:111122223333:hints"] }]
  }
  expect_failures = [
    var.role_name,
    var.log_retention_days,
    var.statements,
  ]
}

run "a_resource_with_a_wildcard_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }
  variables {
    statements = [{ Sid = "SendHints", Action = ["sqs:SendMessage"], Resource = ["*"] }]
  }
  expect_failures = [
    var.statements,
  ]
}

run "a_zip_that_was_not_built_is_refused" {
  command = plan

  module {
    source = "./modules/function"
  }
  variables {
    zip = "tests/zips/nothing.zip"
  }
  expect_failures = [
    aws_lambda_function.this,
  ]
}
