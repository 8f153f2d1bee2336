#!/usr/bin/env python3
"""Starts ministack, the AWS emulator of the rehearsal, with two answers put right.

The first python3 on the path has to be that of an environment that holds ministack (tried with 1.5.33). It takes the same
environment variables as ministack, such as GATEWAY_PORT. Both corrections concern what Terraform reads back, not what was stored:

- DescribeAlarms in the query protocol, which the provider speaks, leaves out most of an alarm, so that every plan
  would put all alarms right again. The JSON protocol has everything; its answer is rendered here.
- A secret made without a value has no version in AWS. Here it would get an empty one in force, so that a deployment
  could not tell whether the credentials were stored yet.
  https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CreateSecret.html (ClientRequestToken)
"""

import json
from datetime import datetime, timezone
from xml.sax.saxutils import escape

from ministack.app import main
from ministack.services import cloudwatch, secretsmanager

describe_alarms = cloudwatch._describe_alarms
store_new_secret = secretsmanager._store_new_secret


def xml(value):
    """A value of an alarm in the query protocol: lists of members, booleans and numbers as text."""
    if isinstance(value, dict):
        return "".join(f"<{key}>{xml(inner)}</{key}>" for key, inner in value.items())
    if isinstance(value, list):
        return "".join(f"<member>{xml(inner)}</member>" for inner in value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return escape(str(value))


def with_dates(alarm):
    """The query protocol writes instants as ISO 8601, the JSON protocol as seconds."""
    return {
        key: datetime.fromtimestamp(value, timezone.utc).isoformat() if key.endswith("Timestamp") else value
        for key, value in alarm.items()
        if value is not None
    }


def describe_alarms_in_full(params, cbor_data, is_cbor, is_json=False):
    if is_cbor or is_json:
        return describe_alarms(params, cbor_data, is_cbor, is_json)
    asked = {}
    for key in ("AlarmNames", "AlarmTypes"):
        members = [cloudwatch._p(params, f"{key}.member.{place}") for place in range(1, 101)]
        if any(members):
            asked[key] = [member for member in members if member]
    for key in ("AlarmNamePrefix", "StateValue", "MaxRecords", "NextToken"):
        if cloudwatch._p(params, key):
            asked[key] = cloudwatch._p(params, key)
    status, headers, body = describe_alarms(params, asked, False, True)
    if status != 200:
        return describe_alarms(params, cbor_data, is_cbor, is_json)
    answer = json.loads(body)
    for key in ("MetricAlarms", "CompositeAlarms"):
        answer[key] = [with_dates(alarm) for alarm in answer.get(key, [])]
    result = f"<DescribeAlarmsResult>{xml(answer)}</DescribeAlarmsResult>"
    return cloudwatch._xml(200, "DescribeAlarmsResponse", result)


def store_without_empty_version(name, secret_string=None, secret_binary=None, **others):
    stored = store_new_secret(name, secret_string=secret_string, secret_binary=secret_binary, **others)
    if secret_string is None and secret_binary is None:
        secretsmanager._secrets[name]["Versions"] = {}
    return stored


cloudwatch._describe_alarms = describe_alarms_in_full
secretsmanager._store_new_secret = store_without_empty_version

if __name__ == "__main__":
    main()
