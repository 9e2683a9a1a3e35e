package faas

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Bounds of layers.
const (
	MaxLayers           = 5           // of one function
	MaxFunctionUnpacked = 262_144_000 // bytes of a function's package and layers together
	MaxLayerName        = 140
	MaxLayerPolicyBytes = 20_480
	maxLayerRuntimes    = 15
	maxLayerLicense     = 512 // characters
)

// LayerID names a layer. It belongs to an account and a region; namespaces share it.
type LayerID struct {
	Account string `json:"account"`
	Region  string `json:"region"`
	Name    string `json:"name"`
}

// String returns account/region/name, for logs and keys.
func (id LayerID) String() string { return id.Account + "/" + id.Region + "/" + id.Name }

// Layer is a layer version as a function uses it. It holds all that a start needs:
// a function outlives the versions that were deleted since.
type Layer struct {
	ARN      string   `json:"arn"`
	Code     Code     `json:"code"`
	Contents Contents `json:"contents"`
}

// Contents is what an archive holds, as far as that decides how it is used.
type Contents struct {
	Bytes      int64 `json:"bytes"`                // of all files, unpacked
	Libraries  bool  `json:"libraries,omitempty"`  // has lib: programs find it when they start
	Extensions bool  `json:"extensions,omitempty"` // has extensions
}

// LayerVersion is one published version of a layer. Only its policy ever changes.
type LayerVersion struct {
	Layer         LayerID   `json:"layer"`
	Number        int64     `json:"number"`
	Description   string    `json:"description,omitempty"`
	License       string    `json:"license,omitempty"`
	Runtimes      []string  `json:"runtimes,omitempty"`      // compatible ones
	Architectures []string  `json:"architectures,omitempty"` // compatible ones
	Created       time.Time `json:"created"`
	Code          Code      `json:"code"`
	Contents      Contents  `json:"contents"`
	// Policy lets other accounts use the version. PolicyRevision changes with it.
	Policy         []LayerStatement `json:"policy,omitempty"`
	PolicyRevision string           `json:"policyRevision,omitempty"`
}

// LayerStatement allows a principal to use a layer version.
type LayerStatement struct {
	SID string `json:"sid"`
	// Principal is *, an account, or the ARN of an account's root.
	Principal string `json:"principal"`
	// Organization restricts * to the accounts of one, o-...
	Organization string `json:"organization,omitempty"`
}

// ARN is the version's Amazon resource name.
func (v *LayerVersion) ARN() string { return LayerVersionARN(v.Layer, v.Number) }

// Use is the version as a function uses it.
func (v *LayerVersion) Use() Layer { return Layer{ARN: v.ARN(), Code: v.Code, Contents: v.Contents} }

// Allows reports whether functions of an account may use the version. Which
// accounts are of an organization is not known here: a statement that asks for one
// allows nobody.
func (v *LayerVersion) Allows(account string) bool {
	if account == v.Layer.Account {
		return true
	}
	return slices.ContainsFunc(v.Policy, func(s LayerStatement) bool {
		if s.Principal == "*" {
			return s.Organization == ""
		}
		return s.Principal == account || strings.HasPrefix(s.Principal, "arn:") && strings.HasSuffix(s.Principal, ":iam::"+account+":root")
	})
}

// Suits reports whether the version lists a runtime and an architecture; "" asks for
// neither. As on Lambda, one that lists none is found by no filter.
func (v *LayerVersion) Suits(runtime, architecture string) bool {
	return (runtime == "" || slices.Contains(v.Runtimes, runtime)) &&
		(architecture == "" || slices.Contains(v.Architectures, architecture))
}

// Validate returns an error that names every field out of bounds, or nil.
func (v *LayerVersion) Validate(l Limits) error {
	errs := v.Layer.validate()
	errs = errs.maxLen("description", v.Description, l.MaxDescription)
	errs = errs.maxLen("licenseInfo", v.License, maxLayerLicense)
	if n := len(v.Runtimes); n > maxLayerRuntimes {
		errs = append(errs, FieldError{"compatibleRuntimes", fmt.Sprint(n), fmt.Sprintf("must have length less than or equal to %d", maxLayerRuntimes)})
	}
	for _, runtime := range v.Runtimes {
		if runtime == "" || len(runtime) > MaxLayerName {
			errs = append(errs, FieldError{"compatibleRuntimes", clip(runtime), "must be names of runtimes"})
		}
	}
	for _, arch := range v.Architectures {
		errs = errs.oneOf("compatibleArchitectures", arch, ArchX8664, ArchARM64)
	}
	return errs.Err()
}

func (id LayerID) validate() FieldErrors {
	errs := validatePlace(id.Account, id.Region)
	if !ValidLayerName(id.Name) {
		errs = append(errs, FieldError{"layerName", clip(id.Name), wordConstraint(id.Name, MaxLayerName)})
	}
	return errs
}

// ValidLayerName reports whether s may name a layer: 1 to MaxLayerName letters,
// digits, hyphens and underscores.
func ValidLayerName(s string) bool { return isWord(s, MaxLayerName) }

// LayerARN formats a layer's Amazon resource name.
func LayerARN(id LayerID) string {
	return "arn:" + regionPartition(id.Region) + ":lambda:" + id.Region + ":" + id.Account + ":layer:" + id.Name
}

// LayerVersionARN formats the name of a version of a layer.
func LayerVersionARN(id LayerID, number int64) string {
	return LayerARN(id) + ":" + VersionNumber(number)
}

// ParseLayerRef reads a layer's name, its ARN, or either with :version; number is
// 0 where none is said. What the text leaves out comes from defaults.
func ParseLayerRef(s string, defaults Scope) (id LayerID, number int64, ok bool) {
	id = LayerID{Account: defaults.Account, Region: defaults.Region}
	if len(s) > maxRef {
		return id, 0, false
	}
	parts := strings.Split(s, ":")
	if parts[0] == "arn" {
		if len(parts) < 7 || !partition.MatchString(parts[1]) || parts[2] != "lambda" || parts[5] != "layer" {
			return id, 0, false
		}
		id.Region, id.Account, parts = parts[3], parts[4], parts[6:]
	}
	id.Name = parts[0]
	ok = len(parts) <= 2 && len(id.validate()) == 0
	if len(parts) == 2 {
		var isNumber bool
		number, isNumber = ParseVersionNumber(parts[1])
		ok = ok && isNumber
	}
	return id, number, ok
}
