package auth

import "cmp"

// Identity is a caller that was verified, in the region that its signature is of.
// It is never changed.
type Identity struct {
	KeyID   string // "" where nothing was verified
	Account string
	Name    string // of the key, which may have none
	Region  string // "" where the request named none
	Admin   bool
	// Anyone is set where the server does not verify: everything is allowed.
	Anyone bool

	policy *Policy
}

// ARN names the caller as IAM names a user.
func (i *Identity) ARN() string {
	return "arn:aws:iam::" + i.Account + ":user/" + cmp.Or(i.Name, i.KeyID)
}

// serverWide are the actions that concern more than one account: only keys of
// administrators have them, whatever a policy says.
var serverWide = map[string]bool{
	"hearth:CreateKey": true, "hearth:ListKeys": true, "hearth:UpdateKey": true, "hearth:DeleteKey": true,
	"hearth:PutAccountLimits": true, "hearth:GetMetrics": true, "hearth:ListLosses": true,
}

// Allow returns nil where the caller may do action to resource, else an *Error with
// kind Denied, in AWS's words. Actions are written service:Name, resources are
// ARNs or "*". Allow does not know whose the resource is.
func (i *Identity) Allow(action, resource string) error {
	if i.Anyone {
		return nil
	}
	if serverWide[action] && !i.Admin {
		return i.denied(action, resource, because(action))
	}
	if i.policy == nil {
		return nil
	}
	switch i.policy.Decide(Query{Action: action, Resource: resource, Principal: i.ARN(), Account: i.Account}) {
	case Allowed:
		return nil
	case Forbidden:
		return i.denied(action, resource, "with an explicit deny in an identity-based policy")
	default:
		return i.denied(action, resource, because(action))
	}
}

func because(action string) string {
	return "because no identity-based policy allows the " + action + " action"
}

func (i *Identity) denied(action, resource, why string) error {
	return refuse(Denied, "User: %s is not authorized to perform: %s on resource: %s %s", i.ARN(), action, resource, why)
}
