"""Speed measurements that anyone can run. They are no tests: a slow machine is no fault."""
