//! The engine: steps, plan, journal, budget.
