import { configure } from "@testing-library/react";

// How long what must come may take before it is missed: a busy machine is no failure.
configure({ asyncUtilTimeout: 10_000 });
