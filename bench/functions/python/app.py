"""The function that is measured: it reads a small event and returns a small
result. The bare server of the comparison imports this very file."""


def handler(event, context):
    items = event["items"]
    return {"greeting": "hello, " + event["name"], "count": len(items), "sum": sum(items)}
