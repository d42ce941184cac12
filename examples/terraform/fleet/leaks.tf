# How reports of leaks come in: the fingerprints that lead to a secret, GitHub's webhook, and what AWS itself reports.

locals {
  rules = merge(
    local.writes_prints ? {
      fingerprints = {
        description = "Has the fleet's function write the fingerprints of all secrets into their tags"
        schedule    = var.fingerprint_schedule
        pattern     = null
        function    = "fleet"
        # Those that the role may read and tag. Each other one would be told as a failure.
        input = jsonencode({ Do = "fingerprints", Select = merge(
          { names = ["${var.secret_name_prefix}*"], functions = var.function_arns },
          var.secret_tag_key == "" ? {} : { tags = { (var.secret_tag_key) = var.secret_tag_value } },
        ) })
      }
    } : {},
    local.hears_aws_findings ? {
      health = {
        description = "Hands on the access keys that AWS Health reports as exposed"
        schedule    = null
        function    = "leaks"
        input       = null
        pattern = jsonencode({
          source = ["aws.health"], "detail-type" = ["AWS Health Event"], detail = { eventTypeCode = ["AWS_RISK_CREDENTIALS_EXPOSED"] }
        })
      }
      guardduty = {
        description = "Hands on the access keys that findings of GuardDuty name"
        schedule    = null
        function    = "leaks"
        input       = null
        pattern = jsonencode({
          source = ["aws.guardduty"], "detail-type" = ["GuardDuty Finding"]
          detail = { resource = { accessKeyDetails = { accessKeyId = [{ exists = true }] } } }
        })
      }
    } : {},
  )
}

resource "aws_cloudwatch_event_rule" "of_the_fleet" {
  for_each = local.rules

  name                = "${local.name}-${each.key}"
  description         = each.value.description
  schedule_expression = each.value.schedule
  event_pattern       = each.value.pattern
  tags                = var.tags
}

resource "aws_cloudwatch_event_target" "of_the_fleet" {
  for_each = local.rules

  rule  = aws_cloudwatch_event_rule.of_the_fleet[each.key].name
  arn   = aws_lambda_function.of_the_fleet[each.value.function].arn
  input = each.value.input
}

resource "aws_lambda_permission" "rule" {
  for_each = local.rules

  statement_id  = "Rule-${each.key}"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.of_the_fleet[each.value.function].function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.of_the_fleet[each.key].arn
}

# Counts the lines that tell of a leak, whatever they say.
resource "aws_cloudwatch_log_metric_filter" "notices" {
  for_each = { for key, it in local.functions : key => it.name if key == "leaks" }

  name           = "${each.value}-notices"
  log_group_name = aws_cloudwatch_log_group.of_a_function[each.key].name
  pattern        = "{ $.target = \"rotation::notice\" }"

  metric_transformation {
    namespace = "Lockstep/${var.name_prefix}"
    name      = "LeakNotices"
    value     = "1"
  }
}

# Public, because GitHub cannot sign as a principal of AWS: the function follows only what has the signature of the webhook's secret.
resource "aws_apigatewayv2_api" "webhook" {
  count = local.hears_webhook ? 1 : 0

  name          = "${local.name}-leaks"
  description   = "Receives the webhook of GitHub's secret scanning"
  protocol_type = "HTTP"
  tags          = var.tags
}

resource "aws_apigatewayv2_integration" "webhook" {
  count = local.hears_webhook ? 1 : 0

  api_id                 = aws_apigatewayv2_api.webhook[0].id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.of_the_fleet["leaks"].arn
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "webhook" {
  count = local.hears_webhook ? 1 : 0

  api_id             = aws_apigatewayv2_api.webhook[0].id
  route_key          = "POST /github"
  authorization_type = "NONE"
  target             = "integrations/${aws_apigatewayv2_integration.webhook[0].id}"
}

resource "aws_apigatewayv2_stage" "webhook" {
  count = local.hears_webhook ? 1 : 0

  api_id      = aws_apigatewayv2_api.webhook[0].id
  name        = "$default"
  auto_deploy = true
  tags        = var.tags

  default_route_settings {
    throttling_rate_limit  = var.webhook_requests_per_second
    throttling_burst_limit = var.webhook_requests_per_second
  }
}

resource "aws_lambda_permission" "webhook" {
  count = local.hears_webhook ? 1 : 0

  statement_id  = "Webhook"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.of_the_fleet["leaks"].function_name
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${local.arns}:execute-api:${local.region}:${local.account}:${aws_apigatewayv2_api.webhook[0].id}/$default/POST/github"
}
