"""The module with which a stem cell runs through what a function will make it do."""


def handler(event, context):
    return dict(event, left=context.get_remaining_time_in_millis())
