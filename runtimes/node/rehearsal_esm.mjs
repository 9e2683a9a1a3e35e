// As rehearsal.js, for functions that are ES modules.

export const handler = async (event, context) => ({ ...event, left: context.getRemainingTimeInMillis() });
