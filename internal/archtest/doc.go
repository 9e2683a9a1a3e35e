// Package archtest holds the repository's own rules as tests: which package may
// import which, that every package says what it is, and how large files and
// functions may grow. It has no code outside its tests.
package archtest
