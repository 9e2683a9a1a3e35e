#!/usr/bin/env bash
# What a deployment with SAM does, by hand with the AWS CLI: package, create, layer,
# alias shift, provisioned concurrency, URL with CORS, permission, event source
# mapping, a stale revision, delete. In the environment: HEARTH and STORE (the
# endpoints of Lambda and S3), RUNTIME, and AWS's own variables. Prints "done" last.
set -euo pipefail
cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT

lambda() { aws lambda --endpoint-url "$HEARTH" --output json "$@"; }
# field NAME COMMAND… prints a member of a command's output.
field() { local name=$1; shift; lambda "$@" --query "$name" --output text; }
# check WHAT GOT WANT
check() { [[ "$2" == "$3" ]] || { echo "$1: got '$2', want '$3'" >&2; exit 1; }; }
# refused CODE COMMAND… fails unless the service refuses with that error.
refused() {
  local code=$1; shift
  if lambda "$@" >out 2>&1; then echo "not refused: $*" >&2; exit 1; fi
  grep -q "($code)" out || { cat out >&2; exit 1; }
}

echo "package"
mkdir -p layer/python
echo 'word = "layered"' >layer/python/word.py
write() {
  cat >app.py <<CODE
import json, os, word
def handler(event, context):
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(
        {"code": "$1", "word": word.word, "version": context.function_version, "tmp": os.statvfs("/tmp").f_blocks * os.statvfs("/tmp").f_frsize >> 20})}
CODE
  python3 -m zipfile -c "app-$1.zip" app.py
}
(cd layer && python3 -m zipfile -c ../layer.zip python)
write one
write two
aws s3 --endpoint-url "$STORE" mb s3://packages >/dev/null
aws s3 --endpoint-url "$STORE" cp --quiet app-one.zip s3://packages/dir/app.zip

echo "create"
LAYER=$(field LayerVersionArn publish-layer-version --layer-name words --zip-file fileb://layer.zip)
refused InvalidParameterValueException create-function --function-name flow --runtime "$RUNTIME" --handler app.handler \
  --role arn:aws:iam::000000000000:role/flow --code S3Bucket=packages,S3Key=none.zip
check "state" Pending "$(field State create-function --function-name flow --runtime "$RUNTIME" --handler app.handler \
  --role arn:aws:iam::000000000000:role/flow --code S3Bucket=packages,S3Key=dir/app.zip --layers "$LAYER" \
  --ephemeral-storage Size=1024 --memory-size 512 --timeout 10 --tags app=flow --environment 'Variables={STAGE=test}')"
lambda wait function-active-v2 --function-name flow
check "tags" flow "$(field Tags.app get-function --function-name flow)"
# invoke QUALIFIER prints the body of the answer.
invoke() {
  echo '{}' >event.json
  lambda invoke --function-name flow --qualifier "$1" --payload fileb://event.json answer.json >/dev/null
  python3 -c 'import json; print(json.load(open("answer.json"))["body"])'
}
BODY=$(invoke '$LATEST')
[[ "$BODY" == *'"code": "one"'*'"word": "layered"'* ]] || { echo "invoke: $BODY" >&2; exit 1; }
TMP=$(python3 -c 'import json,sys; print(json.loads(sys.argv[1])["tmp"])' "$BODY")
((TMP > 900 && TMP <= 1024)) || { echo "/tmp has $TMP MB, not 1024 less what the file system takes" >&2; exit 1; }

echo "release"
check "version" 1 "$(field Version publish-version --function-name flow)"
lambda create-alias --function-name flow --name live --function-version 1 >/dev/null
STALE=$(field Configuration.RevisionId get-function --function-name flow)
lambda update-function-code --function-name flow --zip-file fileb://app-two.zip >/dev/null
lambda wait function-updated-v2 --function-name flow
refused PreconditionFailedException update-function-configuration --function-name flow --timeout 11 --revision-id "$STALE"
check "version" 2 "$(field Version publish-version --function-name flow)"
lambda update-alias --function-name flow --name live --routing-config '{"AdditionalVersionWeights":{"2":0.5}}' >/dev/null
SEEN=""
for _ in $(seq 60); do
  SEEN+=$(invoke live)
  [[ "$SEEN" == *'"code": "one"'* && "$SEEN" == *'"code": "two"'* ]] && break
done
[[ "$SEEN" == *'"code": "one"'* && "$SEEN" == *'"code": "two"'* ]] || { echo "the alias does not shift: $SEEN" >&2; exit 1; }
check "moved" 2 "$(field FunctionVersion update-alias --function-name flow --name live --function-version 2 --routing-config '{"AdditionalVersionWeights":{}}')"

echo "scale"
lambda put-function-concurrency --function-name flow --reserved-concurrent-executions 10 >/dev/null
lambda put-provisioned-concurrency-config --function-name flow --qualifier live --provisioned-concurrent-executions 1 >/dev/null
for _ in $(seq 60); do
  STATUS=$(field Status get-provisioned-concurrency-config --function-name flow --qualifier live)
  [[ "$STATUS" == READY ]] && break
done
check "provisioned" READY "$STATUS"
lambda delete-provisioned-concurrency-config --function-name flow --qualifier live

echo "events"
URL=$(field FunctionUrl create-function-url-config --function-name flow --qualifier live --auth-type NONE \
  --cors 'AllowOrigins=https://app.example,AllowMethods=GET')
lambda add-permission --function-name flow --qualifier live --statement-id url --action lambda:InvokeFunctionUrl \
  --principal '*' --function-url-auth-type NONE >/dev/null
curl -sS -D head -H 'Origin: https://app.example' --connect-to "::${HEARTH#http://}" "$URL" >body
grep -q '"code": "two"' body || { cat head body >&2; exit 1; }
grep -qi '^access-control-allow-origin: https://app.example' head || { cat head >&2; exit 1; }
lambda add-permission --function-name flow --qualifier live --statement-id bucket --action lambda:InvokeFunction \
  --principal s3.amazonaws.com --source-arn arn:aws:s3:::uploads >/dev/null
[[ $(field Policy get-policy --function-name flow --qualifier live) == *'"Sid":"bucket"'* ]]
MAPPING=$(field UUID create-event-source-mapping --function-name flow:live --batch-size 5 \
  --event-source-arn "arn:aws:sqs:$AWS_REGION:000000000000:orders")
check "mapping" Enabled "$(field State get-event-source-mapping --uuid "$MAPPING")"
check "batch" 9 "$(field BatchSize update-event-source-mapping --uuid "$MAPPING" --batch-size 9)"

echo "delete"
check "mapping" Deleting "$(field State delete-event-source-mapping --uuid "$MAPPING")"
refused ResourceNotFoundException get-event-source-mapping --uuid "$MAPPING"
lambda delete-function-url-config --function-name flow --qualifier live
refused ResourceConflictException delete-function --function-name flow --qualifier 2
lambda delete-alias --function-name flow --name live
lambda delete-function --function-name flow
refused ResourceNotFoundException get-function --function-name flow
lambda delete-layer-version --layer-name words --version-number 1
echo "done"
