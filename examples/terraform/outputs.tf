output "function_arn" {
  description = "The function's ARN."
  value       = aws_lambda_function.rotation.arn
}

output "role_arn" {
  description = "The ARN of the function's role, for the policies of keys and secrets."
  value       = aws_iam_role.rotation.arn
}

output "attach_command" {
  description = "The command that attaches a secret that is not in `secrets`. With --no-rotate-immediately it does not rotate yet."
  value       = "aws secretsmanager rotate-secret --region ${local.region} --secret-id YOUR-SECRET --rotation-lambda-arn ${aws_lambda_function.rotation.arn} --rotation-rules AutomaticallyAfterDays=30${local.is.makes_first_value ? "" : " --no-rotate-immediately"}"
}

output "alarm_topic_arn" {
  description = "The topic that receives the alarms."
  value       = local.topic_arn
}
