# An alarm acts when its state changes, so most periods are short: it can soon ring again.

locals {
  list = "aws stepfunctions list-executions --region ${local.region} --state-machine-arn ${aws_sfn_state_machine.fleet.arn}"
  tail = "aws logs tail /aws/lambda/${var.name_prefix}-$f --region ${local.region}"
  both = "Log groups: /aws/lambda/${local.name} and /aws/lambda/${local.name}-leaks"
  all  = "Log groups: /aws/lambda/${local.name}, /aws/lambda/${local.name}-page and /aws/lambda/${local.name}-leaks"

  of_machine_metric = { StateMachineArn = aws_sfn_state_machine.fleet.arn }

  # Each rings if the largest of its metrics reaches `least`. `first` is the command that shows more.
  alarms = {
    run-failed = {
      when   = true
      says   = "A run of ${local.name} was stopped, by its own gate, by the stop flag or by an error. Secrets that it did not reach are not rotated."
      log    = "Log group: /aws/lambda/${local.name}"
      first  = "${local.list} --status-filter FAILED --max-items 5"
      least  = 1
      period = 300
      metrics = {
        failed   = { namespace = "AWS/States", name = "ExecutionsFailed", dimensions = local.of_machine_metric }
        timedout = { namespace = "AWS/States", name = "ExecutionsTimedOut", dimensions = local.of_machine_metric }
      }
    }
    errors = {
      when   = true
      says   = "${local.name}, ${local.name}-page or ${local.name}-leaks crashed, ran out of time or ended with an error three times within an hour."
      log    = local.all
      first  = "for f in fleet fleet-page fleet-leaks; do ${local.tail} --since 1d --filter-pattern '?ERROR ?error ?timeout'; done"
      least  = 3
      period = 3600
      metrics = {
        fleet = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = local.name } }
        page  = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = "${local.name}-page" } }
        leaks = { namespace = "AWS/Lambda", name = "Errors", dimensions = { FunctionName = "${local.name}-leaks" } }
      }
    }
    throttled = {
      when   = true
      says   = "Step Functions or Lambda slowed down ${local.name}, or refused to start an execution of any state machine of this account. An emergency may not have begun."
      log    = "Log group: /aws/lambda/${local.name}"
      first  = "${local.list} --max-items 5"
      least  = 1
      period = 300
      metrics = {
        machine  = { namespace = "AWS/States", name = "ExecutionThrottled", dimensions = local.of_machine_metric }
        starts   = { namespace = "AWS/States", name = "ThrottledEvents", dimensions = { APIName = "StartExecution" } }
        function = { namespace = "AWS/Lambda", name = "Throttles", dimensions = { FunctionName = local.name } }
      }
    }
    credential-leaked = {
      when    = local.finds_leaks
      says    = "A credential of a secret has leaked, or may have. The line in the log names the secret and proposes an order; it has no value."
      log     = "Log group: /aws/lambda/${local.name}-leaks"
      first   = "aws logs tail /aws/lambda/${local.name}-leaks --region ${local.region} --since 1d --filter-pattern '{ $.target = \"rotation::notice\" }'"
      least   = 1
      period  = 300
      metrics = { notices = { namespace = "Lockstep/${var.name_prefix}", name = "LeakNotices", dimensions = {} } }
    }
    fingerprints-missing = {
      when   = local.finds_leaks
      says   = "${local.name} could not read secrets for their fingerprints, or not write their tags. A leak of one of them leads nowhere."
      log    = "Log group: /aws/lambda/${local.name}"
      first  = "aws logs tail /aws/lambda/${local.name} --region ${local.region} --since 2d --filter-pattern '{ $.audit = \"leak\" && $.about = \"*fingerprints*\" }'"
      least  = 1
      period = 300
      metrics = {
        refused = { namespace = "Lockstep", name = "FingerprintsRefused", dimensions = { FunctionName = local.name } }
        unread  = { namespace = "Lockstep", name = "FingerprintsUnread", dimensions = { FunctionName = local.name } }
      }
    }
    webhook-refused = {
      when    = local.hears_webhook
      says    = "The webhook of ${local.name}-leaks refused 20 requests or more within five minutes: a wrong secret at GitHub, or a flood. A real alert may have been refused as well."
      log     = "Log group: /aws/lambda/${local.name}-leaks"
      first   = "aws logs tail /aws/lambda/${local.name}-leaks --region ${local.region} --since 1h --filter-pattern '{ $.audit = \"leak\" }'"
      least   = 20
      period  = 300
      metrics = { refused = { namespace = "AWS/ApiGateway", name = "4xx", dimensions = { ApiId = one(aws_apigatewayv2_api.webhook[*].id) } } }
    }
    rule-broken = {
      when    = length(local.rules) > 0
      says    = "EventBridge could not invoke a function of ${local.name}: for the fingerprints, or for what AWS Health or GuardDuty reported."
      log     = local.both
      first   = "for f in fleet fleet-leaks; do aws lambda get-policy --function-name ${var.name_prefix}-$f --region ${local.region} --query Policy --output text; done"
      least   = 1
      period  = 300
      metrics = { for key, it in aws_cloudwatch_event_rule.of_the_fleet : key => { namespace = "AWS/Events", name = "FailedInvocations", dimensions = { RuleName = it.name } } }
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "of_the_fleet" {
  for_each = toset([for suffix, it in local.alarms : suffix if it.when])

  alarm_name = "${local.name}-${each.key}"
  alarm_description = join("\n", [
    local.alarms[each.key].says,
    local.alarms[each.key].log,
    "First command: ${local.alarms[each.key].first}",
    "What to do: ${var.runbook_url}/alarms/fleet-${each.key}.md",
  ])
  alarm_actions       = [var.alarm_topic_arn]
  evaluation_periods  = 1
  comparison_operator = "GreaterThanOrEqualToThreshold"
  threshold           = local.alarms[each.key].least
  treat_missing_data  = "notBreaching"
  tags                = var.tags

  metric_query {
    id          = "most"
    label       = each.key
    expression  = "MAX([${join(", ", [for id, it in local.alarms[each.key].metrics : "FILL(${id}, 0)"])}])"
    return_data = true
  }

  dynamic "metric_query" {
    for_each = local.alarms[each.key].metrics

    content {
      id = metric_query.key

      metric {
        namespace   = metric_query.value.namespace
        metric_name = metric_query.value.name
        dimensions  = metric_query.value.dimensions
        stat        = "Sum"
        period      = local.alarms[each.key].period
      }
    }
  }
}
