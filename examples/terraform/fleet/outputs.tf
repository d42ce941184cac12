output "state_machine_arn" {
  description = "The state machine, which docs/fleet.md calls $FLEET."
  value       = aws_sfn_state_machine.fleet.arn
}

output "function_arn" {
  description = "The fleet's function."
  value       = aws_lambda_function.of_the_fleet["fleet"].arn
}

output "page_function_arn" {
  description = "The function of the page, for a custom widget of a dashboard. Whoever is to see the page has to be allowed to invoke it."
  value       = aws_lambda_function.of_the_fleet["page"].arn
}

output "page_role_arn" {
  description = "The ARN of the role of the page's function, for the policies of keys and secrets."
  value       = aws_iam_role.of_a_function["page"].arn
}

output "role_arn" {
  description = "The ARN of the fleet's role, for the policies of keys and secrets."
  value       = aws_iam_role.of_a_function["fleet"].arn
}

output "on_call_policy_arn" {
  description = "The policy for people who may begin and stop runs."
  value       = aws_iam_policy.on_call.arn
}

output "webhook_url" {
  description = "The address for the webhook of GitHub's secret scanning. Null without webhook_secret_arn."
  value       = local.hears_webhook ? "${aws_apigatewayv2_api.webhook[0].api_endpoint}/github" : null
}
