output "arn" {
  description = "ARN of the function."
  value       = aws_lambda_function.this.arn
}

output "name" {
  description = "Name of the function."
  value       = aws_lambda_function.this.function_name
}

output "invoke_arn" {
  description = "What an API integrates."
  value       = aws_lambda_function.this.invoke_arn
}

output "code_hash" {
  description = "Hash of the zip: changes when the program does."
  value       = aws_lambda_function.this.source_code_hash
}

# The rest is for tests, which see a module's outputs and not its resources.

output "policy" {
  description = "The whole policy of the role, as rendered."
  value       = aws_iam_role_policy.this.policy
}

output "trust" {
  description = "Who may act as the role, as rendered."
  value       = aws_iam_role.this.assume_role_policy
}

output "settings" {
  description = "The environment variables, as set."
  value       = aws_lambda_function.this.environment[0].variables
}

output "limits" {
  description = "Memory, time, concurrency and runtime, as set; retries and age of asynchronous invocations."
  value = {
    memory_mb       = aws_lambda_function.this.memory_size
    timeout_seconds = aws_lambda_function.this.timeout
    concurrency     = aws_lambda_function.this.reserved_concurrent_executions
    runtime         = aws_lambda_function.this.runtime
    handler         = aws_lambda_function.this.handler
    architecture    = aws_lambda_function.this.architectures[0]
    retries         = aws_lambda_function_event_invoke_config.this.maximum_retry_attempts
    age_seconds     = aws_lambda_function_event_invoke_config.this.maximum_event_age_in_seconds
  }
}

output "log" {
  description = "Name, retention and key of the log group."
  value = {
    name           = aws_cloudwatch_log_group.this.name
    retention_days = aws_cloudwatch_log_group.this.retention_in_days
    kms_key_arn    = aws_cloudwatch_log_group.this.kms_key_id
  }
}
