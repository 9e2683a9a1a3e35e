// Package funcurl is the edge of function URLs: a request to the address of a
// function becomes an event of payload format 2.0, and what the function returns
// becomes the answer (AWS Lambda Developer Guide, "Invoking Lambda function URLs").
//
// A URL is reached by a host name of its own, ID.lambda-url.REGION.HOST, or by the
// path /lambda-url/ID/ on any name of the server. It owns who may call, CORS and the
// translation both ways. It must not know how URLs are stored or signatures made.
package funcurl
