package e2e

import "github.com/google/nftables"

// filterTables names the tables of the kernel's packet filter.
func filterTables() []string {
	conn, err := nftables.New()
	if err != nil {
		return nil
	}
	tables, err := conn.ListTables()
	if err != nil {
		return nil
	}
	var names []string
	for _, t := range tables {
		names = append(names, t.Name)
	}
	return names
}
