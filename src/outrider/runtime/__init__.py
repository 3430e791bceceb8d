"""Level-triggered controllers: informers, work queues, reconcilers, leader election, events."""
