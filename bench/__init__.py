"""Time and API calls of `up`, no-op `up` and `destroy`, side by side with kubectl: `make bench`.

Nothing here passes or fails. It prints ratios of what was measured in one run, on one machine, on
one cluster, with repeats, and keeps every raw value.

Each repeat, in a copy of the project with its own state and its own cluster (bench/repeat.py):

1. `pulumi up` of module3 from nothing, timed from the start of the process to its end.
2. `pulumi up` again, which changes nothing. Then a pause, for the rate of calls of an idle cluster.
3. `pulumi up` with the modules reduced to module 1, which deletes slices, driver, claims and pods
   one by one. `destroy` does not do that on a cluster that goes as a whole.
4. The same objects by kubectl on the same cluster, from the stack's state and the chart's release.
   What is left on the cluster is deleted first. Then `kubectl apply --server-side`, with the waits
   that `up` makes too (nodes ready, the chart's pods available, pod-1 ready), again with no change,
   and `kubectl delete`. kubectl's cache is empty at first, as for any new cluster; the provider
   has none.
5. `pulumi destroy`.
6. A cluster made by the same program without Pulumi, and kubectl's `apply` on it at once: what a
   person pays who has nothing yet. API server and kwok are then as young as they are for `up`; on
   the cluster of step 4 they have warmed up.

Seconds. The engine's own events (bench/profile.py) split what `up` does beyond kubectl's part.
Every moment of the update belongs to the objects on the cluster if one of them is under way (their
waits and the gate on published devices included), else to the making of the cluster, else to a
check, else to the engine and the program. Objects and engine together are compared with kubectl.
Checks that run beside objects still take their share of the processor.

Calls. Two counts, which answer different questions (bench/calls.py):

- *own calls*: what the client itself asked, by its user agent in the API server's audit log. For
  Pulumi that is its Kubernetes provider with Helm in it. Watches, discovery and OpenAPI documents
  count. The checks' calls stand apart.
- *all calls*: the difference of the API server's counter apiserver_request_total, so with what
  controllers, scheduler and kwok do in turn, less the idle rate times the seconds and what the
  checks ask. Watches are left out, as they are counted only when they end, and so are probes and
  scrapes of metrics. For `up` from nothing the count begins when the cluster has been made.

The audit log is on for all parts alike, at the level Metadata, by kwokctl's environment.
"""
