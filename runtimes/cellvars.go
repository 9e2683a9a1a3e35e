package runtimes

import (
	"slices"
	"strings"
)

// A booted runtime has read some variables already. A function that sets one of
// them to something else than what every function has, takes the direct start.

// loaderVariables are read before a program's first own instruction, by the dynamic
// loader and the C library.
var loaderVariables = []string{"LD_", "GLIBC_TUNABLES", "MALLOC_", "LANG", "LANGUAGE", "LC_", "GCONV_PATH", "LOCPATH"}

// bootVariables are what else each language's runtime reads when it boots, by the
// beginning of the name. TZ is not among them: the bootstraps apply it.
var bootVariables = map[language][]string{
	languageNode:   {"NODE_", "UV_", "OPENSSL_", "SSL_CERT_"},
	languagePython: {"PYTHON"},
}

// lateVariables look like a runtime's and are only read when they are used.
var lateVariables = []string{"NODE_ENV", "NODE_TLS_REJECT_UNAUTHORIZED"}

// bootVariable returns the first variable, by name, that a booted runtime of the
// language could not take over from an environment; "" where there is none.
func bootVariable(l language, environment map[string]string) string {
	prefixes, boots := bootVariables[l]
	if !boots {
		return "" // nothing was booted that could have read anything
	}
	boot := defaults(known{language: l}, func(path string) string { return path })
	first := ""
	for name, value := range environment {
		if !hasPrefix(name, prefixes) && !hasPrefix(name, loaderVariables) || slices.Contains(lateVariables, name) {
			continue
		}
		if has, ok := boot[name]; ok && has == value {
			continue
		}
		if first == "" || name < first {
			first = name
		}
	}
	return first
}

func hasPrefix(name string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}
