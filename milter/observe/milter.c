/* milter */
#include "relaypool.h"
