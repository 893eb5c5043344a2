package definition

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// SecretKey is a key of a Secret, which is in the namespace of the object that
// names it.
type SecretKey struct {
	Name string
	Key  string
}

func (k SecretKey) String() string { return fmt.Sprintf("Secret %s, key %s", k.Name, k.Key) }

// ShownTogether returns two versions of a filter, either of which may be nil,
// for people to compare, without what is or has become secret. [Convert] writes
// where a secret configuration comes from, which is the same in both versions
// if only the value differs. The note says so then, as a comment in YAML. It has
// no hash of the value, from which a short value could be guessed.
func ShownTogether(from, to *Filter) (shownFrom, shownTo *Filter, note string) {
	if from == nil || to == nil || to.ConfigSecret == nil || proto.Equal(from.Config, to.Config) && from.ConfigSecret != nil {
		return from, to, ""
	}
	if from.ConfigSecret != nil {
		return from, to, fmt.Sprintf("# the value in %v is another one than before\n", to.ConfigSecret)
	}
	if from.Config != nil { // the value has probably been moved to the Secret
		before := *from
		before.Config = TextConfig("(not shown, as it comes from a Secret now)")
		from = &before
	}
	return from, to, ""
}
