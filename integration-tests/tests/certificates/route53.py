"""What a Route 53 answers to the operations of a rotation, as pairs of a title and an answer, in JSON."""

import json

import boto3
from botocore.exceptions import ClientError

NAME = "_acme-challenge.example.com."
client = boto3.client("route53")
said = []


def tell(title, call, *arguments):
    try:
        answer = call(*arguments)
    except ClientError as error:
        answer = ["refused", error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]]
    said.append([title, answer])


def zones(name):
    found = client.list_hosted_zones_by_name(DNSName=name)["HostedZones"]
    return [[zone["Name"], zone["Config"]["PrivateZone"]] for zone in found]


def records(name, kind="TXT"):
    """The first record set from this name and type on, as the function asks for it."""
    found = client.list_resource_record_sets(HostedZoneId=zone, StartRecordName=name, StartRecordType=kind, MaxItems="1")
    sets = [it for it in found["ResourceRecordSets"] if it["Name"] == name and it["Type"] == kind]
    return [[it["TTL"], sorted(record["Value"] for record in it["ResourceRecords"])] for it in sets]


def change(*changes, zone_id=None):
    batch = [
        {
            "Action": action,
            "ResourceRecordSet": {"Name": name, "Type": kind, "TTL": ttl, "ResourceRecords": [{"Value": it} for it in values]},
        }
        for action, name, kind, ttl, values in changes
    ]
    answer = client.change_resource_record_sets(HostedZoneId=zone_id or zone, ChangeBatch={"Changes": batch})
    changed.append(answer["ChangeInfo"]["Id"])
    return "carried out"


def in_sync(change_id):
    """It is pending first, or in sync at once."""
    return any(client.get_change(Id=change_id)["ChangeInfo"]["Status"] == "INSYNC" for _ in range(10))


if not client.list_hosted_zones_by_name()["HostedZones"]:
    for name in ("example.com", "example.org"):
        client.create_hosted_zone(Name=name, CallerReference=name)
changed = []
zone = next(it for it in client.list_hosted_zones_by_name()["HostedZones"] if it["Name"] == "example.com.")["Id"].split("/")[-1]

tell("all zones", zones, "")
tell("zones from a name on", zones, "example.com.")
tell("zones from a name below on", zones, "_acme-challenge.example.com.")
tell("no record yet", records, NAME)
tell("two values", change, ("CREATE", NAME, "TXT", 60, ['"one"', '"two"']))
tell("two values are there", records, NAME)
tell("the change is in sync", in_sync, changed[-1])
tell("created twice", change, ("CREATE", NAME, "TXT", 60, ['"three"']))
tell("deleted with other values", change, ("DELETE", NAME, "TXT", 60, ['"one"']))
tell("deleted with another time to live", change, ("DELETE", NAME, "TXT", 61, ['"one"', '"two"']))
tell("deleted where nothing is", change, ("DELETE", "nothing.example.com.", "TXT", 60, ['"one"']))
tell("they are still there", records, NAME)
tell(
    "replaced by a comparison",
    change,
    ("DELETE", NAME, "TXT", 60, ['"one"', '"two"']),
    ("CREATE", NAME, "TXT", 60, ['"one"', '"two"', '"three"']),
)
tell("three values are there", records, NAME)
tell(
    "several names, one of them wrong",
    change,
    ("CREATE", "_acme-challenge.a.example.com.", "TXT", 60, ['"one"']),
    ("DELETE", "_acme-challenge.b.example.com.", "TXT", 60, ['"one"']),
)
tell("nothing was carried out", records, "_acme-challenge.a.example.com.")
tell(
    "several names",
    change,
    ("CREATE", "_acme-challenge.a.example.com.", "TXT", 60, ['"one"']),
    ("CREATE", "_acme-challenge.b.example.com.", "TXT", 60, ['"one"']),
)
tell("the second name is there", records, "_acme-challenge.b.example.com.")
tell("upserted", change, ("UPSERT", "_acme-challenge.b.example.com.", "TXT", 300, ['"two"']))
tell("the upserted one is there", records, "_acme-challenge.b.example.com.")
tell("a name of another zone", change, ("CREATE", "_acme-challenge.example.org.", "TXT", 60, ['"one"']))
tell("a CNAME", change, ("CREATE", "_acme-challenge.c.example.com.", "CNAME", 60, ["a.example.org."]))
tell("the CNAME is there", records, "_acme-challenge.c.example.com.", "CNAME")
tell("deleted", change, ("DELETE", NAME, "TXT", 60, ['"one"', '"two"', '"three"']))
tell("no record any more", records, NAME)
tell("an unknown zone", lambda: change(("CREATE", NAME, "TXT", 60, ['"one"']), zone_id="Z0"))
tell("an unknown change", in_sync, "C0")
print(json.dumps(said))
