// Package rollouts measures how changes go through a played fleet that has a
// Rollout: how often a good one is stopped for nothing, how soon a bad one for
// cause, and how many Envoys ever had it.
//
// It is a test, as time is virtual in most of it: the driver, the machine and the
// judges of xds-server, as they are, see a thousand Envoys for hours in a second.
// With -report it writes docs/rollouts.md (`make rollout-report`).
package rollouts
