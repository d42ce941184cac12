output "function_arn" {
  description = "The function's ARN."
  value       = aws_lambda_function.rotation.arn
}

output "role_arn" {
  description = "The ARN of the function's role, for policies of keys and secrets that name who may use them."
  value       = aws_iam_role.rotation.arn
}

output "attach_command" {
  description = "Attaches a secret that `secrets` does not name."
  value       = "aws secretsmanager rotate-secret --region ${local.region} --secret-id YOUR-SECRET --rotation-lambda-arn ${aws_lambda_function.rotation.arn} --rotation-rules AutomaticallyAfterDays=30 --no-rotate-immediately"
}

output "alarm_topic_arn" {
  description = "The topic that failures and alarms are sent to."
  value       = aws_sns_topic.alarms.arn
}
