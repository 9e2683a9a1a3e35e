'use strict';
// The handler with which a stem cell runs through what a function will make it do.

exports.handler = async (event) => event;
