package faas

import (
	"strconv"
	"strings"
)

// Bounds of names, in bytes; all names are ASCII.
const (
	MaxFunctionName  = 64
	MaxNamespace     = 64
	MaxQualifier     = 128
	maxRegion        = 32
	accountDigits    = 12
	maxVersionDigits = 18 // fits an int64 with room to count on
)

// ValidFunctionName reports whether s may name a function: 1 to MaxFunctionName
// letters, digits, hyphens and underscores.
func ValidFunctionName(s string) bool { return isWord(s, MaxFunctionName) }

// ValidNamespace reports whether s may name a namespace; the alphabet is that
// of function names.
func ValidNamespace(s string) bool { return isWord(s, MaxNamespace) }

// ValidAccount reports whether s is an account id: twelve digits.
func ValidAccount(s string) bool { return len(s) == accountDigits && isDigits(s) }

// ValidRegion reports whether s has the shape of a region of any vendor:
// lower-case words joined by hyphens, such as eu-central-1 or ap-guangzhou.
func ValidRegion(s string) bool {
	if len(s) > maxRegion || strings.Count(s, "-") < 1 {
		return false
	}
	for i, word := range strings.Split(s, "-") {
		if word == "" || !isLowerAlnum(word) || (i == 0 && !isLower(word)) {
			return false
		}
	}
	return true
}

// ValidVersionNumber reports whether s is a published version's number: digits
// without leading zeros, from 1.
func ValidVersionNumber(s string) bool {
	return len(s) >= 1 && len(s) <= maxVersionDigits && s[0] != '0' && isDigits(s)
}

// ValidAliasName reports whether s may name an alias: a word of at most
// MaxQualifier characters that is not all digits, which would name a version.
func ValidAliasName(s string) bool { return isWord(s, MaxQualifier) && !isDigits(s) }

// ValidQualifier reports whether s has the shape of a qualifier: Latest, a
// version number or an alias name. Digits that no version can have are of
// the shape too; nothing will be found under them.
func ValidQualifier(s string) bool { return s == Latest || isWord(s, MaxQualifier) }

// VersionNumber writes n as a published version's number.
func VersionNumber(n int64) string { return strconv.FormatInt(n, 10) }

// ParseVersionNumber is the inverse of VersionNumber; ok is false for Latest, an
// alias name and anything else.
func ParseVersionNumber(s string) (n int64, ok bool) {
	if !ValidVersionNumber(s) {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// validatePlace returns which of an account and a region is wrong.
func validatePlace(account, region string) FieldErrors {
	var errs FieldErrors
	if !ValidAccount(account) {
		errs = append(errs, FieldError{"account", account, "must be twelve digits"})
	}
	if !ValidRegion(region) {
		errs = append(errs, FieldError{"region", region, "must be lower-case words joined by hyphens, such as us-east-1"})
	}
	return errs
}

// Validate returns the fields of the identity that are wrong, named as the API
// names them.
func (id FunctionID) Validate() FieldErrors {
	errs := validatePlace(id.Account, id.Region)
	if !ValidNamespace(id.Namespace) {
		errs = append(errs, FieldError{"namespace", id.Namespace, wordConstraint(id.Namespace, MaxNamespace)})
	}
	if !ValidFunctionName(id.Name) {
		errs = append(errs, FieldError{"functionName", id.Name, wordConstraint(id.Name, MaxFunctionName)})
	}
	return errs
}

func wordConstraint(s string, max int) string {
	switch {
	case s == "":
		return "must have length greater than or equal to 1"
	case len(s) > max:
		return "must have length less than or equal to " + strconv.Itoa(max)
	default:
		return "must satisfy regular expression pattern: [a-zA-Z0-9-_]+"
	}
}

func isWord(s string, max int) bool {
	if s == "" || len(s) > max {
		return false
	}
	for i := range len(s) {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return true
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

func isLower(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz") == ""
}

func isLowerAlnum(s string) bool {
	return strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789") == ""
}
