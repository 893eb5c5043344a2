package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"wasmxds/resource"
)

const sparesHelp = `Spare slots: a filter that is added or moved goes into a spare slot of its listener,
so that it applies to every open connection at once and no connection is closed.
--spare-slots sets their number: N (default 2) before the first and after the last
filter of each chain; N,M adds M between any two filters. Each spare slot costs about
a microsecond per request. If no suitable slot is left, the listener is replaced, and
connections opened earlier bypass the new filter until Envoy has drained them.
"status --wait=drained" waits for that, and "bootstrap --help" explains its limits. A
replaced listener has all its spare slots again. With --respare, a listener that has
used some is also replaced for that reason alone, after this time without changes;
Envoy then drains its connections.`

// defaultSpares are those of every command that is not told otherwise.
func defaultSpares() resource.Spares { return resource.Spares{Around: 2} }

// spareFlags say how many empty slots listeners have.
type spareFlags struct{ text string }

func (s *spareFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&s.text, "spare-slots", defaultSpares().String(),
		"`number` N of spare slots before the first and after the last filter of each chain; N,M adds M between any two; 0 means none")
	completeValues(cmd, "spare-slots", defaultSpares().String(), "2,1", "0")
}

func (s *spareFlags) spares() (resource.Spares, error) {
	spares, err := resource.ParseSpares(s.text)
	if err != nil {
		return spares, fmt.Errorf("--spare-slots %w", err)
	}
	return spares, nil
}

// checkRespare bounds how often listeners may be replaced for their spares alone.
func checkRespare(d time.Duration) error {
	if d != 0 && d < time.Minute {
		return fmt.Errorf("--respare %v: must be 0, or at least 1m", d)
	}
	return nil
}
