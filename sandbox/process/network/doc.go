// Package network keeps the network namespaces in which sandboxes run: empty
// ones, with a loopback interface and nothing else, and ones that reach the
// public internet and nothing nearer.
//
// A namespace with egress has one veth, point to point to the host, which
// routes, filters and masquerades. There is no bridge: instances have no link in
// common. What leaves an instance is checked on the host, in an nftables table
// of Hearth's own, where the function cannot reach:
//
//   - its source must be the instance's own address;
//   - the host itself is out of reach, on every address that it has;
//   - so are other instances, and every address that is not public: private,
//     link-local, carrier-grade NAT and metadata addresses, unless Options.Allow
//     names them;
//   - IPv6 leaves no instance; only ::1 exists inside;
//   - the connections that the host tracks for one instance are bounded.
//
// Names are resolved by Hearth's own resolver at 127.0.0.1:53 inside each
// namespace with egress. Without egress nothing listens there, so that a lookup
// fails at once.
//
// Namespaces without egress are made anew for each sandbox. Those with egress
// are recycled, because deleting a veth takes 30 ms under a lock that the whole
// machine shares: when the sandbox's processes are dead, its connections are
// destroyed, what the host remembers of them is forgotten, and a namespace in
// which any socket is left that is not Hearth's own is deleted instead. What a
// later tenant can see of an earlier one are the counters of the interfaces.
//
// # The host
//
// Forwarding is switched on for the veths and for the interfaces that lead
// outward, never for the whole host. Where Hearth had to switch it on for an
// interface, the table also keeps the host from becoming a router for others:
// connections that come in there to be forwarded are dropped unless the host
// translated their destination (as Docker's published ports are). Close switches
// it off again. Other firewalls on the host keep their say: one whose forward
// policy is drop stops functions too, which Probe reports.
//
// Everything that outlives a process in the kernel carries the data directory's
// id in its name, and New removes what a killed Hearth left: first the veths, so
// that nothing runs unfiltered, then the table. Namespaces are held by descriptor
// only.
//
// The package owns namespaces, veths, the table and the resolver. It must not
// know what a sandbox or a function is; its neighbour sandbox/process does.
//
// Locks: uplinks.mu before filter.mu, both held over calls to the kernel, which
// are what they order; no other lock is held while anything is called. The
// package is for linux; elsewhere only the resolver is compiled.
package network
