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

output "policy" {
  description = "The whole policy of the role, as rendered; tests read it."
  value       = aws_iam_role_policy.this.policy
}

output "settings" {
  description = "The environment variables, as set; tests read them."
  value       = var.environment
}
