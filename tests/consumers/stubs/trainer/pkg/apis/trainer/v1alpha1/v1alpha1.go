// Package v1alpha1 has the one name of Kubeflow's trainer that Kueue lists among the kinds of jobs.
package v1alpha1

const TrainJobKind = "TrainJob"

var SchemeGroupVersion groupVersion

type (
	groupVersion     struct{}
	groupVersionKind struct{ kind string }
)

func (groupVersion) WithKind(kind string) groupVersionKind { return groupVersionKind{kind} }

func (kind groupVersionKind) String() string {
	return "trainer.kubeflow.org/v1alpha1, Kind=" + kind.kind
}
