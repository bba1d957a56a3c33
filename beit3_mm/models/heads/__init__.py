# Copyright (c) beit3_mm contributors. Licensed under Apache-2.0.
