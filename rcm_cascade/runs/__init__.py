"""One run and many: configuration, folder, identity, plan, launching, training and scoring."""
