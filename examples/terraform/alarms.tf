# Sends mail about failures: those that Secrets Manager reports (it has no metric for them), and those in the function's metrics.

resource "aws_sns_topic" "alarms" {
  name = "${local.name}-alarms"
}

resource "aws_sns_topic_subscription" "mail" {
  count = var.alarm_email == "" ? 0 : 1

  topic_arn = aws_sns_topic.alarms.arn
  protocol  = "email"
  endpoint  = var.alarm_email
}

resource "aws_sns_topic_policy" "alarms" {
  arn    = aws_sns_topic.alarms.arn
  policy = data.aws_iam_policy_document.alarms.json
}

data "aws_iam_policy_document" "alarms" {
  statement {
    sid       = "AlarmsOfThisAccount"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["cloudwatch.amazonaws.com"]
    }

    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["${local.arns}:cloudwatch:${local.region}:${local.account}:alarm:*"]
    }
  }

  # No condition, because EventBridge fills in none when it publishes to a topic.
  statement {
    sid       = "RulesOfEventBridge"
    actions   = ["sns:Publish"]
    resources = [aws_sns_topic.alarms.arn]

    principals {
      type        = "Service"
      identifiers = ["events.amazonaws.com"]
    }
  }
}

resource "aws_cloudwatch_event_rule" "failures" {
  name        = "${local.name}-failures"
  description = "Rotations that Secrets Manager reports as failed or given up"

  event_pattern = jsonencode({
    source        = ["aws.secretsmanager"]
    "detail-type" = ["AWS Service Event via CloudTrail"]
    detail = { for name, value in {
      eventSource         = ["secretsmanager.amazonaws.com"]
      eventName           = ["RotationFailed", "RotationAbandoned", "TestRotationFailed"]
      additionalEventData = var.secret_name_prefix == "" ? null : { SecretId = [{ prefix = local.served }] }
    } : name => value if value != null }
  })
}

resource "aws_cloudwatch_event_target" "failures" {
  rule = aws_cloudwatch_event_rule.failures.name
  arn  = aws_sns_topic.alarms.arn
}

# The function checks all secrets that name it for rotations that are overdue or stuck.
resource "aws_cloudwatch_event_rule" "watch" {
  count = local.watches ? 1 : 0

  name                = "${local.name}-watch"
  description         = "Has ${local.name} check for secrets whose rotation is overdue"
  schedule_expression = var.watch_schedule
}

resource "aws_cloudwatch_event_target" "watch" {
  count = local.watches ? 1 : 0

  rule  = aws_cloudwatch_event_rule.watch[0].name
  arn   = aws_lambda_function.rotation.arn
  input = jsonencode({ Step = "watch" })
}

resource "aws_lambda_permission" "watch" {
  count = local.watches ? 1 : 0

  statement_id  = "Watch"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.rotation.function_name
  principal     = "events.amazonaws.com"
  source_arn    = aws_cloudwatch_event_rule.watch[0].arn
}

locals {
  alarms = {
    overdue = {
      wanted      = local.watches
      metric      = "SecretsOverdue"
      period      = 86400
      above       = 0
      description = "A secret should have been rotated more than a day ago. The function's log names it."
    }
    stuck = {
      wanted      = local.watches
      metric      = "SecretsStuck"
      period      = 86400
      above       = 0
      description = "A rotation was begun more than a day ago and not finished. The function's log names the secret."
    }
    near-timeout = {
      wanted      = true
      metric      = "StepTimeUsed"
      period      = 3600
      above       = 80
      description = "A step of a rotation took more than 80 % of its time. Raise `timeout`, or find what the step waited for."
    }
    journal = {
      wanted      = local.is_api_key
      metric      = "JournalOverdue"
      period      = 86400
      above       = 0
      description = "Superseded API keys are still valid after their time. The function's log names them."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "of_one_metric" {
  for_each = { for name, alarm in local.alarms : name => alarm if alarm.wanted }

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = each.value.description
  alarm_actions       = [aws_sns_topic.alarms.arn]
  namespace           = "Lockstep"
  metric_name         = each.value.metric
  dimensions          = { FunctionName = local.name }
  statistic           = "Maximum"
  period              = each.value.period
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  treat_missing_data  = "notBreaching"
}

# A rule that cannot reach its target reports nothing. These alarms do.
resource "aws_cloudwatch_metric_alarm" "rule_broken" {
  for_each = toset(local.watches ? ["failures", "watch"] : ["failures"])

  alarm_name          = "${local.name}-${each.key}-rule-broken"
  alarm_description   = "EventBridge could not reach the target of the rule ${local.name}-${each.key}. Check the policies of the topic and of the function."
  alarm_actions       = [aws_sns_topic.alarms.arn]
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = "${local.name}-${each.key}" }
  statistic           = "Sum"
  period              = 3600
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
}

resource "aws_cloudwatch_metric_alarm" "failed" {
  alarm_name          = "${local.name}-rotation-failed"
  alarm_description   = "A rotation, or the check for overdue ones, failed with a permanent error, or had any errors three times in an hour."
  alarm_actions       = [aws_sns_topic.alarms.arn]
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = 1
  treat_missing_data  = "notBreaching"

  metric_query {
    id          = "failed"
    label       = "permanent failures, or three errors"
    expression  = "IF(FILL(create, 0) + FILL(set, 0) + FILL(test, 0) + FILL(finish, 0) + FILL(watch, 0) >= 1 OR FILL(errors, 0) >= 3, 1, 0)"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = {
      create = "createSecret"
      set    = "setSecret"
      test   = "testSecret"
      finish = "finishSecret"
      watch  = "watch"
    }

    content {
      id = metric_query.key

      metric {
        namespace   = "Lockstep"
        metric_name = "StepsFailed"
        dimensions  = { FunctionName = local.name, Step = metric_query.value, Class = "permanent" }
        stat        = "Sum"
        period      = 3600
      }
    }
  }

  metric_query {
    id = "errors"

    metric {
      namespace   = "AWS/Lambda"
      metric_name = "Errors"
      dimensions  = { FunctionName = local.name }
      stat        = "Sum"
      period      = 3600
    }
  }
}
