"""What a deployment of one function makes, in a form that does not depend on the tool: SAM, the CDK and Terraform can be compared.

Names that a tool or AWS chooses are made the same: the topic is TOPIC, its key KEY, and a rule is named by what it does."""

import json
import re

from template import PLACEHOLDER, sub_parts

REGION, ACCOUNT = "eu-central-1", "123456789012"
PSEUDO = {
    "AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::StackName": "stack",
}


class Resolver:
    """Replaces the intrinsic functions of CloudFormation by what they would be on AWS. Conditions have to be decided before."""

    def __init__(self, resources, parameters):
        self.resources, self.parameters = resources, parameters

    def __call__(self, node):
        if isinstance(node, list):
            return [self(it) for it in node]
        if not isinstance(node, dict):
            return node
        if len(node) == 1:
            (name, argument), = node.items()
            match name:
                case "Ref":
                    return self.ref(argument)
                case "Fn::GetAtt":
                    resource, attribute = argument.split(".", 1) if isinstance(argument, str) else argument
                    return self.attribute(resource, attribute)
                case "Fn::Sub":
                    text, own = sub_parts(argument)
                    return PLACEHOLDER.sub(lambda it: str(self.placeholder(it[1], own)), text)
                case "Fn::Join":
                    delimiter, parts = argument
                    return delimiter.join(map(str, self(parts)))
                case "Fn::Split":
                    delimiter, text = argument
                    return self(text).split(delimiter)
                case "Fn::ImportValue":
                    return f"imported-{self(argument)}"
        return {key: self(value) for key, value in node.items()}

    def placeholder(self, name, own):
        if name in own:
            return self(own[name])
        return self.attribute(*name.split(".", 1)) if "." in name else self.ref(name)

    def ref(self, name):
        if name in PSEUDO:
            return PSEUDO[name]
        if name not in self.resources:
            return self.parameters[name]
        properties = self(self.resources[name].get("Properties", {}))
        match self.resources[name]["Type"]:
            case "AWS::Lambda::Function":
                return properties["FunctionName"]
            case "AWS::Logs::LogGroup":
                return properties["LogGroupName"]
            case "AWS::SNS::Topic":
                return "TOPIC"
            case "AWS::IAM::ManagedPolicy":
                return f"policy {name}"
            case "AWS::StepFunctions::StateMachine":
                return f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{properties['StateMachineName']}"
            case "AWS::SSM::Parameter":
                return properties["Name"]
        return name

    def attribute(self, name, attribute):
        properties = lambda: self(self.resources[name]["Properties"])  # noqa: E731
        kind = self.resources[name]["Type"]
        match kind, attribute:
            case "AWS::Lambda::Function", "Arn":
                return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{properties()['FunctionName']}"
            case "AWS::Logs::LogGroup", "Arn":
                return f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{properties()['LogGroupName']}:*"
            case "AWS::Events::Rule", "Arn":
                return f"rule {name}"
            case "AWS::KMS::Key", "Arn":
                return "KEY" if "alarms" in properties().get("Description", "") else f"key {name}"
            case ("AWS::IAM::Role", "Arn") | ("AWS::EC2::SecurityGroup", "GroupId"):
                return f"{kind} {name}"
            case "AWS::StepFunctions::StateMachine", "Arn":
                return self.ref(name)
            case "AWS::ApiGatewayV2::Api", "ApiEndpoint":
                return "https://api"
            case "AWS::CloudWatch::Alarm", "Arn":
                return f"alarm {name}"
        raise ValueError(f"the attribute {attribute} of a {kind}")


def as_list(value):
    return value if isinstance(value, list) else [value]


def statement(it):
    """A statement of a policy, with every list as a set."""
    conditions = {
        (test, key, frozenset(as_list(values))) for test, keys in (it.get("Condition") or {}).items() for key, values in keys.items()
    }
    principals = it.get("Principal") or {}
    return (
        it.get("Sid", ""), it["Effect"], frozenset(as_list(it["Action"])), frozenset(as_list(it["Resource"])),
        frozenset((kind, who) for kind, those in principals.items() for who in as_list(those)), frozenset(conditions),
    )


def statements(document):
    document = json.loads(document) if isinstance(document, str) else document
    return {statement(it) for it in document["Statement"]}


def only_of(arn, it):
    """A statement that denies something to all functions of a stack, as it concerns one of them."""
    *rest, conditions = it
    if it[1] != "Deny":
        return it
    return (*rest, frozenset((test, key, frozenset([arn]) if arn in values else values) for test, key, values in conditions))


class Alarm:
    """When an alarm rings, what it says, and where it publishes."""

    VALUES = (None, 0, 1, 2, 3, 25, 80, 81, 100)

    def __init__(self, description, actions, metrics, expression, threshold, comparison, periods, missing):
        self.description, self.actions = description, actions
        self.metrics, self.expression = metrics, expression
        self.threshold, self.comparison, self.periods, self.missing = threshold, comparison, periods, missing

    def of(self, function):
        """The alarm as it concerns one function: the same if metrics of other functions are never written."""
        own = {name: it for name, it in self.metrics.items() if it[2] == (("FunctionName", function),) or it[2][0][0] == "RuleName"}
        rings = {(metric, value): self.rings(name, value) for name, metric in own.items() for value in self.VALUES}
        return self.description, self.actions, frozenset(rings.items())

    def rings(self, name, value):
        """Whether it rings after periods in which one metric had a value, and all others none. None is no data."""
        if self.expression:
            value = evaluate(self.expression, {name: value})
        if value is None:
            return {"breaching": True, "notBreaching": False}[self.missing], self.periods
        compared = {
            "GreaterThanThreshold": value > self.threshold,
            "GreaterThanOrEqualToThreshold": value >= self.threshold,
            "LessThanThreshold": value < self.threshold,
        }
        return compared[self.comparison], self.periods


def evaluate(expression, values):
    """An expression of metric maths for one point in time. Of its functions only those are known that the alarms use."""
    known = {"MAX": lambda those: max(those), "FILL": lambda value, other: other if value is None else value}
    names = {it: values.get(it) for it in re.findall(r"\b[a-z]\w*\b", expression)}
    return eval(expression, {"__builtins__": {}}, known | names)  # noqa: S307: the expression is ours


class Deployed:
    """One function of the kind `kind`, whose name is `function`. `prefix` begins the names of alarms."""

    def __init__(self, kind, function, prefix):
        self.kind, self.name, self.prefix = kind, function, prefix
        self.function, self.log, self.role = {}, {}, {}
        self.permissions, self.role_statements, self.topic_statements, self.key_statements = set(), set(), set(), set()
        self.alarms, self.rules, self.subscriptions = {}, {}, set()

    def add_alarm(self, name, alarm):
        """An alarm of the stack and one of the function have the same suffix."""
        suffix = next(name.removeprefix(it) for it in (f"{self.name}-", f"{self.prefix}-") if name.startswith(it))
        alarm.description = self.plain(alarm.description)
        self.alarms[suffix] = alarm.of(self.name)

    def plain(self, text):
        """A text of an alarm of a stack with one function, as an alarm of that function has it."""
        text = re.sub(r"for f in (\S+); do (.*); done", lambda it: it[2].replace("$f", it[1]), text)
        return re.sub(r"Log groups: (\S+)-NAME, where NAME is one of: (\S+)", r"Log group: \1-\2", text)


def of_cloudformation(resources, parameters, kind, function, prefix):
    """From the resources of a template. Those of other functions are left out."""
    resolve = Resolver(resources, parameters)
    found = Deployed(kind, function, prefix)
    of = lambda kind: [(name, resolve(it.get("Properties", {}))) for name, it in resources.items() if it["Type"] == kind]  # noqa: E731
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{function}"

    (logical, properties), = [it for it in of("AWS::Lambda::Function") if it[1]["FunctionName"] == function]
    logging, network = properties["LoggingConfig"], properties.get("VpcConfig", {})
    found.function = {
        "description": properties["Description"], "handler": properties["Handler"], "runtime": properties["Runtime"],
        "architectures": properties["Architectures"], "memory": properties["MemorySize"], "timeout": properties["Timeout"],
        "layers": properties.get("Layers") or [], "reserved": int(properties.get("ReservedConcurrentExecutions") or 0),
        "tracing": properties.get("TracingConfig", {}).get("Mode", "PassThrough"),
        "logging": (logging["LogGroup"], logging["LogFormat"], logging["ApplicationLogLevel"]),
        "subnets": set(network.get("SubnetIds", [])), "groups": set(network.get("SecurityGroupIds", [])),
    }
    found.environment = environment(properties["Environment"]["Variables"])
    log, = [it for _, it in of("AWS::Logs::LogGroup") if it["LogGroupName"] == f"/aws/lambda/{function}"]
    found.log = {"days": log["RetentionInDays"], "key": log.get("KmsKeyId")}

    role, = [it for name, it in of("AWS::IAM::Role") if f"AWS::IAM::Role {name}" == properties["Role"]]
    found.role = {"path": role.get("Path", "/"), "boundary": role.get("PermissionsBoundary"), "description": role["Description"]}
    documents = [it["PolicyDocument"] for it in role.get("Policies", [])]
    managed = {f"policy {name}": it["PolicyDocument"] for name, it in of("AWS::IAM::ManagedPolicy")}
    documents += [managed[it] for it in role.get("ManagedPolicyArns", [])]
    documents += [it["PolicyDocument"] for _, it in of("AWS::IAM::Policy")]
    found.role_statements = {only_of(arn, it) for document in documents for it in statements(document)}

    rules = {name: it for name, it in of("AWS::Events::Rule")}
    names = {name: "watch" if "ScheduleExpression" in it else "failures" for name, it in rules.items()}
    for name, rule in rules.items():
        target, = [it for it in rule["Targets"] if it["Arn"] in ("TOPIC", arn) or it["Arn"] == parameters.get("AlarmTopicArn")]
        found.rules[names[name]] = {
            "pattern": rule.get("EventPattern"), "schedule": rule.get("ScheduleExpression"), "to": target["Arn"],
            "input": json.loads(target["Input"]) if "Input" in target else None,
            "mail": mail(target["InputTransformer"]["InputPathsMap"], target["InputTransformer"]["InputTemplate"]) if "InputTransformer" in target else None,
        }
    for _, it in of("AWS::Lambda::Permission"):
        if it["FunctionName"] in (function, arn):
            rule = it.get("SourceArn", "").removeprefix("rule ")
            found.permissions.add((it["Action"], it["Principal"], it.get("SourceAccount"), names.get(rule)))
    found.topic_statements = set().union(*(statements(it["PolicyDocument"]) for _, it in of("AWS::SNS::TopicPolicy")))
    keys = [it for name, it in of("AWS::KMS::Key") if resolve.attribute(name, "Arn") == "KEY"]
    found.key_statements = {it for key in keys for it in statements(key["KeyPolicy"])}
    found.key = [(it["EnableKeyRotation"], it["PendingWindowInDays"]) for it in keys]
    found.subscriptions = {(it["Protocol"], it["Endpoint"], it["TopicArn"]) for _, it in of("AWS::SNS::Subscription")}
    for _, it in of("AWS::CloudWatch::Alarm"):
        if concerns(it, function):
            found.add_alarm(it["AlarmName"], alarm_of_cloudformation(it, names))
    return found


def concerns(alarm, function):
    """Whether the alarm is of this function, or of the whole stack."""
    dimensions = [part["Value"] for part in alarm.get("Dimensions", []) if part["Name"] == "FunctionName"]
    return dimensions in ([], [function])


def alarm_of_cloudformation(it, rules):
    named = lambda those: tuple(sorted((part["Name"], rules.get(part["Value"], part["Value"])) for part in those))  # noqa: E731
    if "Metrics" in it:
        expression, = [part["Expression"] for part in it["Metrics"] if "Expression" in part]
        metrics = {
            part["Id"]: (part["MetricStat"]["Metric"]["Namespace"], part["MetricStat"]["Metric"]["MetricName"],
                         named(part["MetricStat"]["Metric"]["Dimensions"]), part["MetricStat"]["Stat"], part["MetricStat"]["Period"])
            for part in it["Metrics"] if "MetricStat" in part
        }
    else:
        expression = None
        metrics = {"it": (it["Namespace"], it["MetricName"], named(it["Dimensions"]), it["Statistic"], it["Period"])}
    periods = it["EvaluationPeriods"], it.get("DatapointsToAlarm")
    return Alarm(it["AlarmDescription"], it["AlarmActions"], metrics, expression, it["Threshold"], it["ComparisonOperator"], periods,
                 it["TreatMissingData"])


def mail(paths, text):
    """The text of a mail, with paths into the event in place of names."""
    for name, path in paths.items():
        text = text.replace(f"<{name}>", f"<{path}>")
    return text


def environment(variables):
    """Without variables that are empty, which is the same as none. An empty list of secrets is not: it allows none."""
    return {name: str(value) for name, value in variables.items() if value != "" or name.endswith("_SECRET_ARNS")}


def of_plan(resources, kind, function, prefix):
    """From the planned resources of the Terraform module: pairs of a type and values."""
    found = Deployed(kind, function, prefix)
    of = lambda kind: [it for its, it in resources if its == kind]  # noqa: E731
    topic = f"arn:aws:sns:{REGION}:{ACCOUNT}:{function}-alarms"
    key, = [it["arn"] for it in of("aws_kms_key")] or [None]
    named = lambda text: text.replace(topic, "TOPIC").replace(key or topic, "KEY")  # noqa: E731

    it, = of("aws_lambda_function")
    network, = it["vpc_config"] or [{}]
    logging, = it["logging_config"]
    found.function = {
        "description": it["description"], "handler": it["handler"], "runtime": it["runtime"], "architectures": it["architectures"],
        "memory": it["memory_size"], "timeout": it["timeout"], "layers": it["layers"] or [], "reserved": it["reserved_concurrent_executions"] or 0,
        "tracing": it["tracing_config"][0]["mode"],
        "logging": (logging["log_group"], logging["log_format"], logging["application_log_level"]),
        "subnets": set(network.get("subnet_ids", [])), "groups": set(network.get("security_group_ids", [])),
    }
    found.environment = environment(it["environment"][0]["variables"])
    log, = of("aws_cloudwatch_log_group")
    found.log = {"days": log["retention_in_days"], "key": log["kms_key_id"]}
    role, = of("aws_iam_role")
    found.role = {"path": role["path"], "boundary": role["permissions_boundary"], "description": role["description"]}
    found.role_statements = set().union(*(statements(it["policy"]) for it in of("aws_iam_role_policy")))

    rules = {it["name"]: it for it in of("aws_cloudwatch_event_rule")}
    names = {name: "watch" if it["schedule_expression"] else "failures" for name, it in rules.items()}
    targets = {it["rule"]: it for it in of("aws_cloudwatch_event_target")}
    for name, rule in rules.items():
        target = targets[name]
        transformer, = target["input_transformer"] or [None]
        found.rules[names[name]] = {
            "pattern": json.loads(rule["event_pattern"]) if rule["event_pattern"] else None, "schedule": rule["schedule_expression"],
            "to": named(target["arn"]), "input": json.loads(target["input"]) if target["input"] else None,
            "mail": mail(transformer["input_paths"], transformer["input_template"]) if transformer else None,
        }
    arns = {it["arn"]: names[name] for name, it in rules.items()}
    for it in of("aws_lambda_permission"):
        found.permissions.add((it["action"], it["principal"], it["source_account"], arns.get(it["source_arn"])))
    found.topic_statements = set().union(*(statements(named(it["policy"])) for it in of("aws_sns_topic_policy")))
    found.key_statements = set().union(*(statements(it["policy"]) for it in of("aws_kms_key")))
    found.key = [(it["enable_key_rotation"], it["deletion_window_in_days"]) for it in of("aws_kms_key")]
    found.subscriptions = {(it["protocol"], it["endpoint"], named(it["topic_arn"])) for it in of("aws_sns_topic_subscription")}
    for it in of("aws_cloudwatch_metric_alarm"):
        found.add_alarm(it["alarm_name"], alarm_of_plan(it, names, named))
    return found


def alarm_of_plan(it, rules, named):
    dimensions = lambda those: tuple(sorted((name, rules.get(value, value)) for name, value in those.items()))  # noqa: E731
    if it["metric_query"]:
        expression, = [query["expression"] for query in it["metric_query"] if query["expression"]]
        queries = {query["id"]: query["metric"][0] for query in it["metric_query"] if query["metric"]}
        metrics = {
            name: (metric["namespace"], metric["metric_name"], dimensions(metric["dimensions"]), metric["stat"], metric["period"])
            for name, metric in queries.items()
        }
    else:
        expression = None
        metrics = {"it": (it["namespace"], it["metric_name"], dimensions(it["dimensions"]), it["statistic"], it["period"])}
    periods = it["evaluation_periods"], it["datapoints_to_alarm"]
    return Alarm(named(it["alarm_description"]), list(map(named, it["alarm_actions"])), metrics, expression, it["threshold"],
                 it["comparison_operator"], periods, it["treat_missing_data"])
