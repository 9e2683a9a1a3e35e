package registry

import "hearth/quota"

// checkSums returns why an account's settings do not fit together, or nil.
func checkSums(quota.Account, quota.Settings) error { return nil }
