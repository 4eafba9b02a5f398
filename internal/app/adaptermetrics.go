package app

import "github.com/prometheus/client_golang/prometheus"

var (
	descUp       = prometheus.NewDesc("relay_adapter_up", "Whether the process of an adapter answers.", []string{"adapter"}, nil)
	descRestarts = prometheus.NewDesc("relay_adapter_restarts_total", "Times that the process of an adapter was started anew because it had ended, hung or taken too much memory.", []string{"adapter"}, nil)
	descDropped  = prometheus.NewDesc("relay_adapter_log_dropped_total", "Lines of an adapter's log that were too many.", []string{"adapter"}, nil)
)

// Describe implements prometheus.Collector.
func (ps *processes) Describe(ch chan<- *prometheus.Desc) {
	ch <- descUp
	ch <- descRestarts
	ch <- descDropped
}

// Collect implements prometheus.Collector.
func (ps *processes) Collect(ch chan<- prometheus.Metric) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	for _, p := range ps.list {
		past, up := ps.past[p.cfg.Name], 0.0
		if p.Up() {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(descUp, prometheus.GaugeValue, up, p.cfg.Name)
		ch <- prometheus.MustNewConstMetric(descRestarts, prometheus.CounterValue, float64(past.restarts+p.Restarts()), p.cfg.Name)
		ch <- prometheus.MustNewConstMetric(descDropped, prometheus.CounterValue, float64(past.dropped+p.Dropped()), p.cfg.Name)
	}
}
