package faas

// Defaults of a server that was told nothing else.
const (
	DefaultAccount   = "000000000000"
	DefaultRegion    = "us-east-1"
	DefaultNamespace = "default"
)

// Latest is the name of a function's mutable head version.
const Latest = "$LATEST"

// Scope is where functions live: everything that is counted, listed or named
// belongs to exactly one scope. Nothing in one region counts in another.
type Scope struct {
	Account string `json:"account"` // 12 digits
	Region  string `json:"region"`
	// Namespace groups functions within a region (Tencent SCF); it is
	// DefaultNamespace in dialects without the idea.
	Namespace string `json:"namespace"`
}

// FunctionID names one function on this platform. It is comparable and is part
// of every key in every store.
type FunctionID struct {
	Scope
	Name string `json:"name"`
}

// String returns account/region/namespace/name, for logs and error subjects.
func (id FunctionID) String() string {
	return id.Account + "/" + id.Region + "/" + id.Namespace + "/" + id.Name
}

// VersionID names one version of one function. Number is Latest or decimal
// digits without leading zeros.
type VersionID struct {
	Function FunctionID `json:"function"`
	Number   string     `json:"number"`
}

func (id VersionID) String() string { return id.Function.String() + ":" + id.Number }
