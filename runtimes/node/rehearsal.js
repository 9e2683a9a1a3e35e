'use strict';
// The handler with which a stem cell runs through what a function will make it do.

// What most functions load, one way or another, and the runtime itself does not.
require('net');
performance.now();

exports.handler = async (event, context) => ({ ...event, left: context.getRemainingTimeInMillis() });

// go is a go frame like a function's. The values tell nobody anything.
exports.go = (environment, taskRoot) => ({
  handler: 'rehearsal.handler',
  environment: {
    ...environment,
    _HANDLER: 'rehearsal.handler', LAMBDA_TASK_ROOT: taskRoot, LAMBDA_RUNTIME_DIR: __dirname,
    AWS_REGION: 'rehearsal', AWS_DEFAULT_REGION: 'rehearsal', AWS_EXECUTION_ENV: 'rehearsal',
    AWS_LAMBDA_FUNCTION_NAME: 'rehearsal', AWS_LAMBDA_FUNCTION_VERSION: 'rehearsal', AWS_LAMBDA_FUNCTION_MEMORY_SIZE: '0',
    AWS_LAMBDA_LOG_GROUP_NAME: 'rehearsal', AWS_LAMBDA_LOG_STREAM_NAME: 'rehearsal', AWS_LAMBDA_LOG_FORMAT: 'Text',
    AWS_LAMBDA_INITIALIZATION_TYPE: 'rehearsal',
  },
  taskRoot,
  concurrency: 1,
});
