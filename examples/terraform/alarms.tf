# Reports failures: those that Secrets Manager publishes (it has no metric for them), and those in the function's metrics.

resource "aws_cloudwatch_event_rule" "failures" {
  name        = "${local.name}-failures"
  description = "Publishes the events of Secrets Manager for failed and abandoned rotations"
  tags        = var.tags

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
  arn  = local.topic_arn

  input_transformer {
    input_paths = {
      what   = "$.detail.eventName"
      secret = "$.detail.additionalEventData.SecretId"
      time   = "$.time"
    }
    # Each line in quotes is a line of the mail.
    input_template = join("\n", [for line in [
      "<what>: <secret> at <time>",
      "Log group: /aws/lambda/ and the name of the function, which the command prints",
      "First command: aws secretsmanager describe-secret --region ${local.region} --secret-id <secret> --query RotationLambdaARN",
      "What to do: ${var.runbook_url}/alarms/rotation-failed.md",
    ] : "\"${line}\""])
  }
}

# The function looks at all secrets that name it for rotations that are overdue or stuck.
resource "aws_cloudwatch_event_rule" "watch" {
  count = local.watches ? 1 : 0

  name                = "${local.name}-watch"
  description         = "Has ${local.name} look for secrets whose rotation is overdue or stuck"
  schedule_expression = var.watch_schedule
  tags                = var.tags
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
  log = "aws logs tail /aws/lambda/${local.name} --region ${local.region}"

  # Each alarm rings above its threshold. `first` is the command that shows more. An alarm acts when its state changes, so most periods are
  # short: it can soon ring again.
  alarms = {
    rotation-failed = {
      namespace = "Lockstep"
      metric    = "PermanentFailures"
      statistic = "Sum"
      period    = 300
      above     = 0
      says      = "A rotation by ${local.name}, or its daily look for late rotations, failed with an error that does not pass by itself."
      first     = "${local.log} --since 1d --filter-pattern '{ $.level = \"ERROR\" }'"
    }
    # Crashes and time-outs write no metric of Lockstep. Secrets Manager repeats a step that failed, so a single error may be over.
    errors = {
      namespace = "AWS/Lambda"
      metric    = "Errors"
      statistic = "Sum"
      period    = 3600
      above     = 2
      says      = "${local.name} crashed, ran out of time or ended with an error three times within an hour."
      first     = "${local.log} --since 1d --filter-pattern '?ERROR ?error ?timeout'"
    }
    throttled = {
      namespace = "AWS/Lambda"
      metric    = "Throttles"
      statistic = "Sum"
      period    = 300
      above     = 0
      says      = "Lambda refused to start a function. The concurrency of the account or of the function was used up. Secrets Manager repeats the step, or the rotation fails."
      first     = "aws lambda get-function-concurrency --function-name ${local.name} --region ${local.region}; aws lambda get-account-settings --region ${local.region} --query AccountLimit"
    }
    step-near-timeout = {
      namespace = "Lockstep"
      metric    = "StepTimeUsed"
      statistic = "Maximum"
      period    = 300
      above     = 80
      says      = "A step of a rotation took more than 80 % of its time. The log says what it waited for, and whether it failed."
      first     = "${local.log} --since 1d --filter-pattern '{ $.StepTimeUsed > 80 }'"
    }
    journal-not-draining = {
      namespace = "Lockstep"
      metric    = "JournalOverdue"
      statistic = "Maximum"
      period    = 300
      above     = 0
      says      = "API keys that were replaced and should have been revoked still work."
      first     = "${local.log} --since 1d --filter-pattern '{ $.code = \"key-not-revoked\" }'"
    }
    certificate-expires = {
      namespace = "Lockstep"
      metric    = "CertificatesExpiring"
      statistic = "Maximum"
      period    = 300
      above     = 0
      says      = "A certificate has less than 7 days left, or less than a fifth of a short life. It should have been renewed before. The alarm rings again at each look that finds one."
      first     = "${local.log} --since 1d --filter-pattern '{ $.message = \"the secret*s certificate expires soon\" }'"
    }
  }

  # Alarms on metrics that not every function writes.
  of_some = {
    journal-not-draining = local.is.keeps_journal
    certificate-expires  = local.is.renews && local.watches
  }

  # What each mail says besides what has happened: where the log is, what to type first, and where the page is.
  log_group = "Log group: /aws/lambda/${local.name}"
  page      = "What to do: ${var.runbook_url}/alarms"
}

resource "aws_cloudwatch_metric_alarm" "of_the_function" {
  for_each = { for suffix, it in local.alarms : suffix => it if lookup(local.of_some, suffix, true) }

  alarm_name          = "${local.name}-${each.key}"
  alarm_description   = "${each.value.says}\n${local.log_group}\nFirst command: ${each.value.first}\n${local.page}/${each.key}.md"
  alarm_actions       = [local.topic_arn]
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = { FunctionName = local.name }
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = each.value.above
  treat_missing_data  = "notBreaching"
  tags                = var.tags
}

resource "aws_cloudwatch_metric_alarm" "overdue" {
  count = local.watches ? 1 : 0

  alarm_name = "${local.name}-rotation-overdue"
  alarm_description = join("\n", [
    "A rotation is more than a day late, or has been unfinished for more than a day. The alarm rings again at each look that finds one.",
    local.log_group,
    "First command: ${local.log} --since 1d --filter-pattern '{ $.target = \"rotation::notice\" }'",
    "${local.page}/rotation-overdue.md",
  ])
  alarm_actions       = [local.topic_arn]
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  tags                = var.tags

  metric_query {
    id          = "worst"
    label       = "secrets overdue or stuck"
    expression  = "MAX([FILL(overdue, 0), FILL(stuck, 0)])"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = { overdue = "SecretsOverdue", stuck = "SecretsStuck" }

    content {
      id = metric_query.key

      metric {
        namespace   = "Lockstep"
        metric_name = metric_query.value
        dimensions  = { FunctionName = local.name }
        stat        = "Maximum"
        period      = 300
      }
    }
  }
}

# A look that finds nothing late still counts the secrets that it has looked at. Until the first look this alarm rings.
resource "aws_cloudwatch_metric_alarm" "look_missing" {
  count = local.watches ? 1 : 0

  alarm_name = "${local.name}-look-missing"
  alarm_description = join("\n", [
    "${local.name} has not done its daily look for late rotations for ${var.look_missing_hours} hours or more. A rotation that never begins would go unnoticed.",
    local.log_group,
    "First command: aws lambda invoke --function-name ${local.name} --region ${local.region} --cli-binary-format raw-in-base64-out --payload '{\"Step\": \"watch\"}' /dev/stdout",
    "${local.page}/look-missing.md",
  ])
  alarm_actions       = [local.topic_arn]
  namespace           = "Lockstep"
  metric_name         = "SecretsServed"
  dimensions          = { FunctionName = local.name }
  statistic           = "SampleCount"
  period              = 3600
  evaluation_periods  = var.look_missing_hours
  comparison_operator = "LessThanThreshold"
  threshold           = 1
  treat_missing_data  = "breaching"
  tags                = var.tags
}

locals {
  # A rule that cannot reach its target reports nothing. These alarms do.
  rules = {
    failure = {
      rule  = aws_cloudwatch_event_rule.failures.name
      says  = "EventBridge could not publish Secrets Manager's report of a failed rotation to the topic of the alarms."
      log   = "Log group: none, EventBridge keeps no log of it. The policies of the topic and of its key decide."
      first = "aws sns get-topic-attributes --region ${local.region} --topic-arn ${local.topic_arn} --query Attributes.Policy --output text"
    }
    watch = {
      rule  = one(aws_cloudwatch_event_rule.watch[*].name)
      says  = "EventBridge could not invoke a function for the daily look for late rotations."
      log   = local.log_group
      first = "aws lambda get-policy --function-name ${local.name} --region ${local.region} --query Policy --output text"
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "rule_broken" {
  for_each = toset(local.watches ? ["failure", "watch"] : ["failure"])

  alarm_name          = "${local.name}-${each.key}-rule-broken"
  alarm_description   = "${local.rules[each.key].says}\n${local.rules[each.key].log}\nFirst command: ${local.rules[each.key].first}\n${local.page}/${each.key}-rule-broken.md"
  alarm_actions       = [local.topic_arn]
  namespace           = "AWS/Events"
  metric_name         = "FailedInvocations"
  dimensions          = { RuleName = local.rules[each.key].rule }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  tags                = var.tags
}
