# The commands of docs/runbooks, for bash. Set FUNCTION to the function's name, then: source docs/runbooks/terminal.sh
# They need the AWS CLI, version 2, with a region set, and jq. They write a few JSON files into the current directory, none of
# which has a credential in it.

# The pages sort dates as text, and local time goes back by an hour in autumn.
export TZ=UTC

FUNCTION_ARN=$(aws lambda get-function --function-name "$FUNCTION" --query Configuration.FunctionArn --output text)
export FUNCTION_ARN

# Sends an event to the function, and waits as long as the function takes. By default the CLI stops waiting after a minute and sends
# the event again, twice: a server would refuse three times as many logins.
invoke() {
    AWS_MAX_ATTEMPTS=1 aws lambda invoke --function-name "$FUNCTION" --cli-read-timeout 0 \
        --cli-binary-format raw-in-base64-out --payload "$1" "$2" > invocation.json
}

# Lists the secrets whose last rotation failed or never ended, with the error and the page for its code, and lets SECRET be the last
# one. With a code: the secrets that have this error or warning. It reads the log of the last 24 hours, or of HOURS.
failures() {
    aws logs filter-log-events --log-group-name "${LOG_GROUP:-/aws/lambda/$FUNCTION}" --output json \
        --start-time "$(($(date +%s) - ${HOURS:-24} * 3600))000" \
        --filter-pattern '?"rotation audit" ?"step started" ?StepDuration ?ERROR ?WARN' > log.json
    jq --arg code "${1:-}" '
        def steps: ["createSecret", "setSecret", "testSecret", "finishSecret", "watch"];
        [.events[].message | fromjson? | select(type == "object") | . + (.span // {}) | .secret //= "(the daily look)"] | group_by(.secret) |
        map((map(select(.audit == "rotation")) | max_by(.timestamp)) as $last |
            (map(select(.StepDuration) | .request)) as $ended |
            (map(select((.level == "ERROR" or .level == "WARN") and .code)) | sort_by(.timestamp)) as $said |
            (map(select(.message == "step started" and (.step | IN(steps[])) and (.request | IN($ended[]) | not) and
                .timestamp > ($last.timestamp // ""))) | max_by(.timestamp)) as $killed |
            ($said | map(select(if $code == "" then .level == "ERROR" else .code == $code end))) as $failed |
            if $code == "" and $killed then $killed + {code: "killed", message: "the step began and never ended", times: 1}
            elif ($failed | length) > 0 and ($code != "" or $last == null or $last.outcome == "failed")
            then $failed[-1] + {times: ($failed | map(select(.code == $failed[-1].code)) | length)} else empty end) |
        sort_by(.timestamp)' log.json > failures.json
    jq -r '.[] | "\(.timestamp[:19])Z \(.step) \(.code), \(.times) times: \(.secret)", "    \(.message)",
        "    page: docs/runbooks/\(if .code == "killed" then "alarms/errors" else "codes/\(.code)" end).md"' failures.json
    if [[ $(jq length failures.json) == 0 ]]; then
        echo "nothing in the last ${HOURS:-24} hours; for more: HOURS=72 failures ${1:-}"
        return
    fi
    # The daily look has no secret.
    SECRET=$(jq -r --arg secret "${SECRET:-}" '[.[].secret | select(startswith("arn:"))][-1] // $secret' failures.json)
    export SECRET
    echo "SECRET=$SECRET"
}

# Lists the secrets of the function whose rotation is late, and lets SECRET be the last one. Reads only.
late() {
    invoke '{"Step": "watch"}' watch.json
    jq -r 'if .errorType then .errorMessage else "\(.served) secrets, \(.late | length) late", (.late[] | "\(.late) \(.secret)") end' watch.json
    SECRET=$(jq -r --arg secret "${SECRET:-}" '.late[-1].secret // $secret' watch.json)
    export SECRET
    echo "SECRET=$SECRET"
}

# Whether SECRET has an ARN, which the commands about one secret need.
named() {
    [[ ${SECRET:-} == arn:* ]] || { echo 'name the secret first: export SECRET=ARN' >&2; return 1; }
}

# Tells what is wrong with the secret. Reads only: it is safe at any moment.
diagnose() {
    named || return 1
    invoke "{\"Step\": \"diagnose\", \"SecretId\": \"$SECRET\"}" diagnosis.json
    jq -r 'if .errorType then .errorMessage else
        "\(.finding): \(.what)", .error.message // empty, "next: \(.nextAction)",
        (.versions[] | "\(.labels | join("+")) \(.credential) \(.version)", .error.message // empty) end' diagnosis.json
}

# Tries the credential of one version, such as a leaked one, whatever label it has: works, rejected, or another word that
# docs/runbooks/README.md explains. It is one refused login, if it is refused.
try_version() {
    named || return 1
    invoke "{\"Step\": \"diagnose\", \"SecretId\": \"$SECRET\", \"VersionId\": \"$1\"}" diagnosis.json
    jq -r --arg version "$1" 'if .errorType then .errorMessage else
        [.versions[] | select(.version == $version).credential][0] // "unknown" end' diagnosis.json
}

# Does what leads out of the finding, if that is safe, or says what to do. The deployer turns it on with AllowRecover.
recover() {
    named || return 1
    invoke "{\"Step\": \"recover\", \"SecretId\": \"$SECRET\"}" recovery.json
    jq -r 'if .errorType then .errorMessage else "\(.outcome): \(.what)", "next: \(.nextAction)" end' recovery.json
}

# The id of the version that has a label, or nothing.
version_of() {
    aws secretsmanager describe-secret --secret-id "$SECRET" --query VersionIdsToStages --output json |
        jq -r --arg name "$1" '(. // {}) | to_entries[] | select(.value | index($name)) | .key'
}

# The value of the version that has a label, for the next command to read. Do not let it stand on the screen.
value_of() {
    aws secretsmanager get-secret-value --secret-id "$SECRET" --version-stage "$1" --query SecretString --output text
}

# AWSCURRENT's value without anything that is secret.
fields() {
    value_of AWSCURRENT | jq 'with_entries(if .key == "rotation" then .value |= del(.clientCertificate?, .fields?, .journal?)
        elif .key | IN("engine", "host", "port", "dbname", "username", "ssl", "masterarn", "issuer", "directory", "contact", "names",
            "notAfter", "algorithm", "maxTokenLifetime", "maxCache", "revoked") then . else .value = "…" end)'
}

# Stores AWSCURRENT's value again, changed by a filter of jq. An unfinished rotation ends with it, and the next one begins anew.
edit() {
    local value
    value=$(value_of AWSCURRENT | jq "$@") && [[ -n $value ]] || { echo 'not stored: the filter made no value' >&2; return 1; }
    aws secretsmanager put-secret-value --secret-id "$SECRET" --secret-string file:///dev/stdin <<< "$value" > /dev/null
}

# Gives the pending version up: removes its label, if AWSCURRENT works. A pending credential that is in use stays.
drop_pending() {
    diagnose | grep -E '^([^ ]+\+)?AWSCURRENT(\+[^ ]+)? works ' || { echo 'not removed: AWSCURRENT does not work' >&2; return 1; }
    aws secretsmanager update-secret-version-stage --secret-id "$SECRET" --version-stage AWSPENDING \
        --remove-from-version-id "$(version_of AWSPENDING)"
}

# Begins a rotation, or goes on with the unfinished one, and waits up to two minutes for AWSCURRENT to move. Ends early if a step fails.
rotate() {
    named || return 1
    local before began described failed
    described=$(aws secretsmanager describe-secret --secret-id "$SECRET" --query ARN --output text)
    before=$(version_of AWSCURRENT)
    began=$(date -u +%Y-%m-%dT%H:%M:%S)
    aws secretsmanager rotate-secret --secret-id "$SECRET" > rotation.json 2> rotation.txt ||
        grep "A previous rotation isn't complete. That rotation will be reattempted" rotation.txt || { cat rotation.txt >&2; return 1; }
    local end=$((SECONDS + 120)) look=$((SECONDS + 15))
    while ((SECONDS < end)); do
        [[ $(version_of AWSCURRENT) == "$before" ]] || { echo rotated; return; }
        if ((SECONDS >= look)); then
            look=$((SECONDS + 15))
            (failures > failed.txt)
            failed=$(jq --arg secret "$described" --arg began "$began" \
                'any(.[]; .secret == $secret and .code != "killed" and .timestamp >= $began)' failures.json)
            [[ $failed != true ]] || break
        fi
        sleep 2
    done
    [[ $(version_of AWSCURRENT) == "$before" ]] || { echo rotated; return; }
    echo 'not rotated' >&2
    (failures >&2)
    return 1
}
